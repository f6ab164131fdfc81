#!/bin/bash
# A SLURM cluster of nodes n1 and n2, both this machine, in a folder of its own: munge, one controller, a slurmd per node.
#
#   tests/slurm_cluster.sh start FOLDER [PORT]  of three in a row; then: export SLURM_CONF=FOLDER/slurm.conf
#   tests/slurm_cluster.sh kill FOLDER n2       as a power cut would: the node, and all that runs on it
#   tests/slurm_cluster.sh stop FOLDER
#
# Needs root and Debian's packages slurmctld, slurmd, slurm-client and munge. No accounts are kept, so sacct refuses.
set -euo pipefail

command=$1 folder=$(realpath "$2")
export SLURM_CONF=$folder/slurm.conf

# The processes that run on a node of this cluster, by what slurmd told them, and the slurmstepd above each.
of_node() {
    local environment pid parent
    for environment in $(grep -slzx "SLURMD_NODENAME=$1" /proc/[0-9]*/environ); do
        if ! grep -sqzx "SLURM_CONF=$SLURM_CONF" "$environment"; then continue; fi
        pid=${environment#/proc/} pid=${pid%/environ}
        echo "$pid"
        parent=$(ps -o ppid= -p "$pid" | tr -d ' ')
        if ps -o args= -p "$parent" | grep -q '^slurmstepd'; then echo "$parent"; fi
    done | sort -u
}

case $command in
start)
    mkdir -p "$folder"/{munge,state,spool-n1,spool-n2}
    chmod 755 "$folder" "$folder/munge"
    head -c 1024 /dev/urandom >"$folder/munge/key"
    chmod 400 "$folder/munge/key"
    host=$(hostname -s) port=${3:-16817}
    cat >"$SLURM_CONF" <<END
ClusterName=bench
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
MpiDefault=none
ReturnToService=2
SlurmdTimeout=5
KillWait=3
NodeName=n[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=2 RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
END
    munged --force --key-file="$folder/munge/key" --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" \
        --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
    slurmctld
    slurmd -N n1
    slurmd -N n2
    for _ in $(seq 60); do
        if [ "$(sinfo -h -o %T 2>/dev/null)" = idle ]; then exit 0; fi
        sleep 0.5
    done
    echo "the cluster in $folder did not start; see its logs" >&2
    exit 1
    ;;
kill)
    running=$(of_node "$3")
    # shellcheck disable=SC2086 # several numbers
    kill -9 "$(cat "$folder/slurmd-$3.pid")" $running
    ;;
stop)
    scancel --me 2>/dev/null || true
    for pid in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/pid"; do
        if [ -f "$pid" ]; then kill "$(cat "$pid")" 2>/dev/null || true; fi
    done
    ;;
*)
    echo "usage: $0 start|kill|stop FOLDER [NODE]" >&2
    exit 2
    ;;
esac
