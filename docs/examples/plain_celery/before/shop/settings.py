broker_url = "amqp://guest:guest@localhost:5672//"
result_backend = "rpc://"
task_time_limt = 600
