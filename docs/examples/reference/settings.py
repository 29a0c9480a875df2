broker_url = ["amqp://one//", "amqp://two//"]
task_delivery_limit = 3
timezone = "Europe/Madrid"
