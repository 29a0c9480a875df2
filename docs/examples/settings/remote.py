task_remote_names = ["billing.tasks.*"]
