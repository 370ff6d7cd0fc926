#!/usr/bin/env bash
# A Slurm of one node on this machine, for tests: munge, slurmctld and slurmd with everything below one folder.
#   sudo scripts/slurm-node.sh start FOLDER [PORT]     prints how to use it: export SLURM_CONF=FOLDER/slurm.conf
#   sudo scripts/slurm-node.sh stop FOLDER
# Needs Debian's slurm-wlm and munge, and root.
set -euo pipefail
what=${1:?start or stop}
folder=$(realpath -m "${2:?a folder}")
port=${3:-16817}

stop() {
  for name in slurmd slurmctld munged; do
    if [ -f "$folder/$name.pid" ]; then kill "$(cat "$folder/$name.pid")" 2>/dev/null || true; fi
  done
}

case $what in
  stop) stop ;;
  start)
    mkdir -p "$folder"/{state,spool,log}
    chmod 755 "$folder"
    [ -f "$folder/munge.key" ] || head -c 128 /dev/urandom > "$folder/munge.key"
    chmod 600 "$folder/munge.key"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
      --seed-file="$folder/munge.seed" --log-file="$folder/log/munged.log"
    cpus=$(nproc)
    host=$(hostname -s)
    cat > "$folder/slurm.conf" << END
ClusterName=gqa
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=200000
ReturnToService=2
MpiDefault=none
KillWait=5
MinJobAge=300
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld
    slurmd
    for _ in $(seq 100); do
      if sinfo -h -o %T 2>/dev/null | grep -q idle; then
        echo "export SLURM_CONF=$folder/slurm.conf"
        exit 0
      fi
      sleep 0.2
    done
    echo "no node came up; see $folder/log" >&2
    stop
    exit 1
    ;;
esac
