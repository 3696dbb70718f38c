# A request and its result from a shell, with kcat and nothing of ours. BROKERS and ID come from the environment.
echo '{"text":"What is an event log?"}' | kcat -P -b "$BROKERS" -t requests -k "$ID" -H ce_specversion=1.0 -H ce_id="$ID" -H ce_source=/shell -H ce_type=hansard.requests.submit.v1
kcat -C -b "$BROKERS" -t results -o beginning -e -q -f '%k %h %s\n' | grep "^$ID "
