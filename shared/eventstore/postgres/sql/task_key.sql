select key from :schema.task_key
