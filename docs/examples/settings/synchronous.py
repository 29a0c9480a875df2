broker_transport_options = {"synchronous": "full"}
