#!/bin/sh
# Makes the secrets of compose.yaml, each of random bytes, where there are none yet: sh cluster/secrets.sh [FOLDER]
# The folder is for its owner alone; the files in it can be read by the containers' users, who see each file by itself.
set -eu
folder=${1:-.secrets}

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

put() {
    [ -s "$folder/$1" ] || (umask 022 && printf '%s' "$2" >"$folder/$1")
}

mkdir -p "$folder"
chmod 700 "$folder"
put postgres_password "$(random)"
put postgres_dsn "postgresql://chillflow:$(cat "$folder/postgres_password")@postgres:5432/chillflow"
put redis_password "$(random)"
put redis_url "redis://:$(cat "$folder/redis_password")@valkey:6379/0"
put ray_token "$(random)"
