"""The Python zygote: loads the application once and forks a worker for each order of einhorn (docs/preloading.md).

It takes as little from the standard library as it can: whatever is imported here cannot be imported first by the application.
Python 3.7 or later.
"""

import errno
import gc
import os
import signal
import socket
import sys

MESSAGE_BYTES_MAX = 1 << 20
REASON_CHARS_MAX = 1000
SCM_MAX_FD = 253
PR_SET_PDEATHSIG = 1
FIRST_WORKER_FD = 3


def main():
    channel = socket.socket(fileno=int(os.environ.pop("EINHORN_ZYGOTE_FD")))
    reserved = channel.fileno() - FIRST_WORKER_FD
    words, _ = receive(channel)
    _, path, collect, *program = words
    master = os.getppid()
    sys.argv[:] = program
    try:
        module = load(path)
        entry = getattr(module, "einhorn_main", None)
        if not callable(entry):
            raise AttributeError("%s defines no function einhorn_main" % path)
        if collect == "1":
            gc.collect()
            # What is frozen is not looked at by later collections, which would write to its pages (gc.freeze).
            gc.freeze()
    except BaseException as error:
        sys.excepthook(*sys.exc_info())
        flush()
        send(channel, "failed", "%s: %s" % (type(error).__name__, error))
        os._exit(1)
    send(channel, "loaded", *threads_warning())
    # Returns in the workers only.
    serve(channel, master, reserved)
    return entry


def load(path):
    """The module at this file, or of this name."""
    import importlib
    import importlib.util

    is_file = os.path.isfile(path)
    # As if the file had been run: what lies beside it can be imported. Not with `python -I` or `-P`.
    if sys.path and sys.path[0] == os.path.dirname(os.path.abspath(__file__)):
        sys.path[0] = os.path.dirname(os.path.abspath(path)) if is_file else os.getcwd()
    if not is_file:
        return importlib.import_module(path)
    path = os.path.abspath(path)
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None:
        from importlib.machinery import SourceFileLoader

        spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def threads_warning():
    threading = sys.modules.get("threading")
    count = threading.active_count() - 1 if threading else 0
    return ["%d threads were started while loading; they do not exist in workers" % count] if count else []


def serve(channel, master, reserved):
    while True:
        words, fds = receive(channel)
        _, number, death_signal, *variables = words
        if fork(channel, master, number):
            become_worker(channel, master, reserved, fds, int(death_signal), variables)
            send(channel, "born", number)
            channel.close()
            return
        for fd in fds:
            os.close(fd)


def fork(channel, master, number):
    """True in the worker, whose parent is the master by then; False in the zygote."""
    flush()
    reader, writer = os.pipe()
    try:
        middle = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        send(channel, "unborn", number, errno.errorcode.get(error.errno, "EAGAIN"))
        return False
    if middle == 0:
        try:
            if os.fork() != 0:
                os._exit(0)
        except OSError as error:
            send(channel, "unborn", number, errno.errorcode.get(error.errno, "EAGAIN"))
            os._exit(1)
        os.close(writer)
        # Ends when the zygote has seen the process between us end, and we are the master's.
        os.read(reader, 1)
        os.close(reader)
        if os.getppid() != master:
            os._exit(1)
        return True
    os.close(reader)
    os.waitpid(middle, 0)
    os.close(writer)
    return False


def become_worker(channel, master, reserved, fds, death_signal, variables):
    os.setpgid(0, 0)
    place(fds, reserved)
    reset_signals()
    if death_signal:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != master:
            os._exit(1)
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = str(os.getpid()) if name == "LISTEN_PID" else value
    take_stderr(os.environ.pop("EINHORN_STDERR_FD", None))
    reseed()


def place(fds, reserved):
    """The sockets at 3, 4, ...; the places kept for more are given up."""
    for number, fd in enumerate(fds):
        os.dup2(fd, FIRST_WORKER_FD + number)
        os.close(fd)
    for number in range(len(fds), reserved):
        os.close(FIRST_WORKER_FD + number)


def take_stderr(number):
    """With --capture-stderr: one of the descriptors is this worker's own stderr."""
    if number is not None:
        os.dup2(int(number), 2)
        os.close(int(number))


def reset_signals():
    """What a Python that was just started has."""
    for number in signal.valid_signals() if hasattr(signal, "valid_signals") else range(1, signal.NSIG):
        standard = signal.SIG_DFL
        if number in (signal.SIGPIPE, signal.SIGXFSZ):
            standard = signal.SIG_IGN
        elif number == signal.SIGINT:
            standard = signal.default_int_handler
        try:
            if signal.getsignal(number) is not standard:
                signal.signal(number, standard)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP.
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def reseed():
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "ssl" in sys.modules:
        sys.modules["ssl"].RAND_add(os.urandom(32), 32.0)


def receive(channel):
    """The words of one message, and the descriptors that came with it. Ends the process when the master is gone."""
    space = socket.CMSG_SPACE(SCM_MAX_FD * 4)
    data, extra, _, _ = channel.recvmsg(MESSAGE_BYTES_MAX, space)
    if not data:
        os._exit(0)
    fds = []
    for level, kind, value in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            count = len(value) // 4
            fds += [int.from_bytes(value[at * 4 : at * 4 + 4], sys.byteorder) for at in range(count)]
    return [os.fsdecode(word) for word in data.split(b"\0")], fds


def send(channel, *words):
    text = "\0".join(str(word)[:REASON_CHARS_MAX].replace("\0", " ") for word in words)
    try:
        channel.send(text.encode("utf-8", "replace"))
    except OSError:
        # Nobody knows of us: the master has given this zygote up.
        os._exit(1)


def flush():
    """What is still in a buffer would be written by each worker again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def run(entry):
    result = entry()
    sys.exit(result if isinstance(result, int) and not isinstance(result, bool) else 0)


if __name__ == "__main__":
    run(main())
