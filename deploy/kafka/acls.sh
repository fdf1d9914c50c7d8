#!/bin/sh
# Gives the rights that Ecounters needs on an Apache Kafka with an authorizer, and no others. Run it as somebody who may
# change rights. It may be run again: a right that is there already is left as it is.
#
#   ECOUNTERS_BROKER=kafka-1:9093 COMMAND_CONFIG=admin.properties WORKER=User:ecounters deploy/kafka/acls.sh
#
# ECOUNTERS_BROKER  host:port of a broker
# COMMAND_CONFIG    a file of client properties by which Kafka's scripts log in; none if not given
# ECOUNTERS_APP_ID  as the workers have it (ecounters)
# ECOUNTERS_TOPIC   as the workers have it (ecounters.events)
# WORKER            who the workers are, as User:NAME
# OPERATOR          who runs the commands topics, state, audit, explain, dlq and user erase
# PUBLISHER         who publishes events: switches, and the commands replay and simulate
#
# Of WORKER, OPERATOR and PUBLISHER, those get rights that are given. deploy/README.md says what each right is for.
set -eu

broker=${ECOUNTERS_BROKER:?"give the host:port of a broker"}
app_id=${ECOUNTERS_APP_ID:-ecounters}
events=${ECOUNTERS_TOPIC:-ecounters.events}
dlq=$events.dlq
changelog=$app_id-state-changelog

allow() { # allow PRINCIPAL OPTIONS…
  principal=$1
  shift
  kafka-acls.sh --bootstrap-server "$broker" ${COMMAND_CONFIG:+--command-config "$COMMAND_CONFIG"} \
    --add --force --allow-principal "$principal" "$@" >/dev/null
}

if [ -n "${WORKER:-}" ]; then
  allow "$WORKER" --operation Read --operation Write --operation DescribeConfigs \
    --topic "$events" --topic "$dlq" --topic "$changelog"
  allow "$WORKER" --operation Read --group "$app_id"
  allow "$WORKER" --operation Write --resource-pattern-type prefixed --transactional-id "$app_id-state-"
fi

if [ -n "${OPERATOR:-}" ]; then
  allow "$OPERATOR" --operation Read --operation DescribeConfigs --operation Create \
    --topic "$events" --topic "$dlq" --topic "$changelog"
  allow "$OPERATOR" --operation Write --topic "$events" --topic "$changelog"
  allow "$OPERATOR" --operation Alter --topic "$events" --topic "$dlq"
  allow "$OPERATOR" --operation Delete --topic "$changelog"
  allow "$OPERATOR" --operation Describe --group "$app_id"
  allow "$OPERATOR" --operation Write --resource-pattern-type prefixed --transactional-id "$app_id-state-"
fi

if [ -n "${PUBLISHER:-}" ]; then
  allow "$PUBLISHER" --operation Write --topic "$events"
fi
