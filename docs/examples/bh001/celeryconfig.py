from utils import find_tasks_in_project

broker_url = "amqp://guest:guest@localhost:5672//"
timezone = "Europe/Madrid"
imports = find_tasks_in_project("shop")
