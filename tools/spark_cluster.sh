#!/usr/bin/env bash
# Ports a generated model on a real Spark cluster of this machine: a master and two workers with one core each, as processes on the loopback
# address. Compares every output with that of one process, byte for byte; times one worker and two; kills a worker with its executor
# in the middle of a job, by SIGKILL. Stops all it started, whatever happens.
#
# usage: tools/spark_cluster.sh [SCRATCH]     after `mvn package`; SCRATCH defaults to portllm-spark/target/cluster
#
# SIZE=1.1b      0.01b, 0.1b or 1.1b: the size of the models, generated in SCRATCH unless they are there
# SHARDS=16      the number of files of each model
# TIMED="1 2"    with how many workers it is timed; empty: only the job whose worker is killed
# MASTER_PORT=7177
# MAVEN=mvn      to list Spark's jars, such as 'mvn -o'
# JAVA=java
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
size=${SIZE:-1.1b} shards=${SHARDS:-16} port=${MASTER_PORT:-7177} java=${JAVA:-java}
scratch=${1:-$root/portllm-spark/target/cluster}
models=$scratch/$size-$shards
home=$scratch/spark-home
cli=$root/portllm-cli/target/portllm.jar
bench=$root/portllm-bench/target/classes
jar() { ls "$root/$1"/target/"$1"-*.jar | grep -v -e sources -e javadoc | head -1; }
for needed in "$cli" "$bench" "$(jar portllm-spark)" "$(jar portllm-io)" "$(jar portllm-core)"; do
  [ -e "$needed" ] || { echo "$needed is not there: run mvn package" >&2; exit 2; }
done
mkdir -p "$models" "$scratch/log"

started=()
stop() {
  local pid
  for pid in "${started[@]}"; do
    # A worker's executors are its children, and so is the driver of what bounds its time.
    kill -9 $(pgrep -P "$pid") "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
  done
  started=()
}
trap stop EXIT

generate() { # NAME OPTION...: made under another name and moved, so that one that is there is complete
  local name=$1; shift
  [ -e "$models/$name" ] && return
  rm -rf "$models/$name.part"
  "$java" -Xmx256m -cp "$bench:$cli" io.portllm.bench.generate.GenerateModel --weights "$size" --shards "$shards" "$@" -o "$models/$name.part"
  mv "$models/$name.part" "$models/$name"
}
generate base --seed 1
generate tuned --seed 1 --perturb 2:0.1
generate newer --seed 1 --perturb 3:0.3

# What an unpacked Spark release has in jars/: all that spark-core needs, and nothing of ours.
rm -rf "$home"
mkdir -p "$home/jars" "$home/conf"
(cd "$root" && ${MAVEN:-mvn} -B -ntp -q -pl portllm-spark -am -Dmaven.test.skip=true package \
  org.apache.maven.plugins:maven-dependency-plugin:build-classpath -Dmdep.outputFile=target/spark.classpath -Dmdep.includeScope=compile)
tr ':' '\n' < "$root/portllm-spark/target/spark.classpath" | grep -v "^$root/" | while read -r file; do ln -s "$file" "$home/jars/"; done
printf 'rootLogger.level = warn\nrootLogger.appenderRef.err.ref = err\nappender.err.type = Console\nappender.err.name = err\n' > "$home/conf/log4j2.properties"
printf 'appender.err.target = SYSTEM_ERR\nappender.err.layout.type = PatternLayout\nappender.err.layout.pattern = %%d{HH:mm:ss} %%p %%c{1}: %%m%%n\n' >> "$home/conf/log4j2.properties"

# Only there does the driver say which tasks a lost executor was at.
printf 'logger.tasks.name = org.apache.spark.scheduler.TaskSetManager\nlogger.tasks.level = info\n' >> "$home/conf/log4j2.properties"

export SPARK_HOME=$home SPARK_SCALA_VERSION=2.13 SPARK_LOCAL_IP=127.0.0.1 SPARK_DAEMON_MEMORY=256m
JAVA_HOME=$("$java" -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java.home = //p'); export JAVA_HOME

spark_class() { # CLASS ARGUMENT...: as bin/spark-class does
  local command=() part
  while IFS= read -r -d '' part; do command+=("${part#$'\n'}"); done \
    < <("$java" -cp "$home/jars/*" org.apache.spark.launcher.Main "$@")
  exec "${command[@]:1}"
}

wait_for() { # SECONDS COMMAND...
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "gave up waiting for: $*" >&2; return 1; }
    sleep 0.2
  done
}

answers() { (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; }

start_cluster() { # WORKERS
  (spark_class org.apache.spark.deploy.master.Master --host 127.0.0.1 --port "$port" --webui-port 0) > "$scratch/log/master" 2>&1 &
  started+=($!)
  wait_for 300 answers
  workers=()
  local i
  for ((i = 1; i <= $1; i++)); do
    (spark_class org.apache.spark.deploy.worker.Worker --host 127.0.0.1 --cores 1 --memory 1g --webui-port 0 \
      --work-dir "$scratch/work$i" "spark://127.0.0.1:$port") > "$scratch/log/worker$i" 2>&1 &
    started+=($!)
    workers+=($!)
  done
}

submit() { # WORKERS OUTPUT: bounded by 15 minutes
  rm -rf "$2"
  export -f spark_class; export home java
  timeout -k 10 900 bash -c 'spark_class "$@"' bash org.apache.spark.deploy.SparkSubmit --master "spark://127.0.0.1:$port" \
    --class io.portllm.spark.SparkMain --jars "$(jar portllm-core),$(jar portllm-io)" \
    --conf spark.driver.host=127.0.0.1 --conf spark.ui.enabled=false --conf spark.executor.memory=512m --driver-memory 512m \
    --conf spark.scheduler.minRegisteredResourcesRatio=1 \
    --conf spark.scheduler.maxRegisteredResourcesWaitingTime=300s --conf spark.cores.max="$1" \
    "$(jar portllm-spark)" port --fine-tuned "file://$models/tuned" --base "file://$models/base" --onto "file://$models/newer" -o "file://$2" &
  started+=($!)
  wait $!
}

digests() { (cd "$1" && find . -type f | LC_ALL=C sort | xargs sha256sum); }

same() { # OUTPUT
  diff <(digests "$scratch/single") <(digests "$1") > "$scratch/log/diff" || { echo "the bytes of $1 differ: $scratch/log/diff" >&2; exit 1; }
  local left
  left=$(find "$scratch" -maxdepth 1 -name '.*.portllm-*')
  [ -z "$left" ] || { echo "left behind: $left" >&2; exit 1; }
}

echo "$(nproc) cores; $size in $shards files, $(du -sh "$models/newer" | cut -f1) each model"
rm -rf "$scratch/single"
"$java" -Xmx256m -jar "$cli" port --fine-tuned "$models/tuned" --base "$models/base" --onto "$models/newer" --no-record -o "$scratch/single" --threads 1
for count in ${TIMED-1 2}; do
  start_cluster "$count"
  echo "== $count worker(s) of one core"
  submit "$count" "$scratch/out$count" 2> "$scratch/log/submit$count"
  same "$scratch/out$count"
  stop
done

echo "== 2 workers, one killed"
start_cluster 2
begun() { find "$scratch" -path '*/.killed.portllm-*.work/parts/*' 2> /dev/null | wc -l; }
kill_a_writer() { # the first worker whose executor has a part open, with that executor
  local worker executor
  [ "$(begun)" -ge 3 ] || return 1
  for worker in "${workers[@]}"; do
    for executor in $(pgrep -P "$worker"); do
      if ls -l "/proc/$executor/fd" 2> /dev/null | grep -q '/.killed.portllm-.*/parts/'; then
        kill -9 "$executor" "$worker"
        echo "killed worker $worker and executor $executor, which was writing, when $(begun) parts of $shards were begun"
        return
      fi
    done
  done
  return 1
}
wait_for 300 kill_a_writer &
killer=$!
submit 2 "$scratch/killed" 2> "$scratch/log/killed"
wait "$killer"
same "$scratch/killed"
lost=$(grep -c -e "Lost task" -e "while it was being computed" "$scratch/log/killed" || true)
[ "$lost" -gt 0 ] || { echo "no task was lost" >&2; exit 1; }
echo "$lost task(s) lost, and run again"
echo "all outputs have the bytes of one process, and nothing was left behind"
