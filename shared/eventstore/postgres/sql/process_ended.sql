with over as (
    update :schema.instances set ended = now() where service = $1 and process = $2
)
update :schema.wake_ups set at = now(), holder = '' where service = $1 and holder = $2
