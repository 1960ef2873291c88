"""Runs commands and tells their time, their processors' time and their largest memory. Linux; standard library alone."""
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
JAR = ROOT / "portllm-cli" / "target" / "portllm.jar"
GENERATOR = f"{ROOT / 'portllm-bench' / 'target' / 'classes'}:{JAR}"


@dataclass
class Run:
    """One run: seconds by the clock, seconds of processors, and the peak resident memory of the largest process in MB; of that memory, what
    is no file's, as far as seen every 20 ms."""
    seconds: float
    cpu: float
    peak: float
    own: float


class OwnMemory(threading.Thread):
    """Looks at a process again and again until it ends."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.status, self.largest = pathlib.Path(f"/proc/{pid}/status"), 0

    def run(self):
        while True:
            try:
                found = [line.split()[1] for line in self.status.read_text().splitlines() if line.startswith("RssAnon")]
            except OSError:
                found = []
            if not found:
                return
            self.largest = max(self.largest, int(found[0]))
            time.sleep(0.02)


def run(command, log, **environment):
    """Runs a command to its end; its output goes to the file `log`. Ends the program if the command fails."""
    with open(log, "wb") as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment})
        own = OwnMemory(process.pid)
        own.start()
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{pathlib.Path(log).read_text(errors='replace')[-2000:]}\nexit code {process.returncode}: {' '.join(map(str, command))}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, own.largest / 1024)


def median(runs, field):
    return statistics.median(getattr(each, field) for each in runs)


def span(runs, field, form="{:.2f}"):
    values = [getattr(each, field) for each in runs]
    return form.format(min(values)) + "–" + form.format(max(values))


def first_line(command):
    """The first line that a command prints, on either stream; None if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    except OSError:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def machine():
    """The machine in one line."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":")[1].strip() for line in info.splitlines() if line.startswith("model name")), platform.machine())
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return f"{model}, {len(os.sched_getaffinity(0))} cores, {gigabytes:.0f} GB of memory, Linux {platform.release()}"


def load():
    """The load average of the last minute, before anything is measured."""
    return f"{os.getloadavg()[0]:.1f}"


class Java:
    """A JVM that runs the command."""

    def __init__(self, path, heap):
        self.path = path
        self.version = first_line([path, "-version"]) or sys.exit(f"{path}: no JVM")
        self.feature = int(self.version.split('"')[1].split(".")[0])
        vectors = ["--add-modules", "jdk.incubator.vector"] if self.feature >= 25 else []
        self.portllm = [path, f"-Xmx{heap}", *vectors, "-jar", str(JAR)]

    def generate(self, folder, name, *options):
        """Makes a model or adapter unless it is there: under another name, then moved, so that what is there is complete."""
        made = pathlib.Path(folder) / name
        if not made.exists():
            part = made.with_suffix(".part")
            subprocess.run(["rm", "-rf", part], check=True)
            made.parent.mkdir(parents=True, exist_ok=True)
            main = "io.portllm.bench.generate.GenerateModel"
            subprocess.run([self.path, "-Xmx256m", "-cp", GENERATOR, main, *options, part], check=True, stdout=subprocess.DEVNULL)
            part.rename(made)
        return made


def require_build():
    if not JAR.exists() or not pathlib.Path(GENERATOR.split(":")[0]).exists():
        sys.exit("not built: run mvn -B -q -pl portllm-bench -am -DskipTests package on JDK 25, so that the jar has the vector kernels")
