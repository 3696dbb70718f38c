set local work_mem = '64MB';
set local synchronous_commit = off;
analyze staged_messages;
analyze staged_door_messages
