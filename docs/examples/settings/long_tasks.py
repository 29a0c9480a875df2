task_time_limit = 14340
