# The Ruby zygote: loads the application once and forks a worker for each order of einhorn (docs/preloading.md).
#
# It requires nothing but `socket`: a gem that is activated here cannot be had in another version by the application.
# Ruby 2.5 or later.
require "socket"

module EinhornZygote
  MESSAGE_BYTES_MAX = 1 << 20
  REASON_CHARS_MAX = 1000
  CONTROL_BYTES_MAX = 4096
  PR_SET_PDEATHSIG = 1
  FIRST_WORKER_FD = 3
  # Not for programs to change (signal(7), Signal.trap).
  UNTOUCHABLE = %w[EXIT KILL STOP SEGV BUS ILL FPE VTALRM].freeze

  class << self
    # Returns in the workers only.
    def run
      @channel = Socket.for_fd(Integer(ENV.delete("EINHORN_ZYGOTE_FD")))
      @channel.close_on_exec = true
      @reserved = @channel.fileno - FIRST_WORKER_FD
      @master = Process.ppid
      words, = receive
      _, path, collect, script, *arguments = words
      ARGV.replace(arguments)
      Process.setproctitle("einhorn zygote #{path}")
      begin
        load_application(path)
        collect_garbage if collect == "1"
      rescue Exception => error # rubocop:disable Lint/RescueException
        # Not `warn`, which -W0 silences.
        $stderr.puts error.full_message(highlight: false)
        $stdout.flush
        tell("failed", "#{error.class}: #{error.message}")
        exit!(1)
      end
      count = Thread.list.size - 1
      tell("loaded", *(count > 0 ? ["#{count} threads were started while loading; they do not exist in workers"] : []))
      serve(script)
    end

    private

    def load_application(path)
      if File.file?(path)
        load(File.expand_path(path))
      else
        $LOAD_PATH.unshift(Dir.pwd) unless $LOAD_PATH.include?(Dir.pwd)
        require path
      end
      return if TOPLEVEL_BINDING.receiver.respond_to?(:einhorn_main, true)
      raise NoMethodError, "#{path} defines no method einhorn_main"
    end

    def collect_garbage
      return Process.warmup if Process.respond_to?(:warmup)
      3.times { GC.start }
      GC.compact if GC.respond_to?(:compact)
    rescue NotImplementedError
      nil # No compaction on this platform.
    end

    def serve(script)
      loop do
        words, ios = receive
        _, number, death_signal, *variables = words
        unless fork_worker(number)
          ios.each(&:close)
          next
        end
        become_worker(ios, death_signal.to_i, variables)
        $0 = script
        tell("born", number)
        @channel.close
        return
      end
    end

    # True in the worker, whose parent is the master by then; false in the zygote.
    def fork_worker(number)
      $stdout.flush
      $stderr.flush
      reader, writer = IO.pipe
      between = Process.fork
      if between.nil?
        exit!(0) unless fork_again(number)
        writer.close
        # Ends when the zygote has seen the process between us end, and we are the master's.
        reader.read
        reader.close
        exit!(1) if Process.ppid != @master
        return true
      end
      Process.wait(between)
      reader.close
      writer.close
      false
    rescue SystemCallError => error
      tell("unborn", number, error.class.name.delete_prefix("Errno::"))
      [reader, writer].compact.each(&:close)
      false
    end

    def fork_again(number)
      Process.fork.nil?
    rescue SystemCallError => error
      tell("unborn", number, error.class.name.delete_prefix("Errno::"))
      exit!(1)
    end

    def become_worker(ios, death_signal, variables)
      Process.setpgid(0, 0)
      place(ios)
      reset_signals
      die_with_master(death_signal) if death_signal > 0
      variables.each do |variable|
        name, value = variable.split("=", 2)
        ENV[name] = name == "LISTEN_PID" ? Process.pid.to_s : value
      end
      take_stderr(ENV.delete("EINHORN_STDERR_FD"))
      reseed
    end

    # The sockets at 3, 4, ...; the places kept for more are given up.
    def place(ios)
      ios.each_with_index do |io, number|
        place = IO.for_fd(FIRST_WORKER_FD + number, autoclose: false)
        place.reopen(io)
        place.close_on_exec = false
        io.close
      end
      (ios.size...@reserved).each { |number| IO.for_fd(FIRST_WORKER_FD + number).close }
    end

    # With --capture-stderr: one of the descriptors is this worker's own stderr.
    def take_stderr(number)
      return if number.nil?
      pipe = IO.for_fd(Integer(number), "w")
      STDERR.reopen(pipe)
      STDERR.sync = true
      pipe.close
    end

    # What a Ruby that was just started has.
    def reset_signals
      (Signal.list.keys - UNTOUCHABLE).each do |name|
        Signal.trap(name, "DEFAULT")
      rescue ArgumentError, SystemCallError
        next # Reserved by this Ruby.
      end
    end

    def die_with_master(signal)
      require "fiddle"
      types = [Fiddle::TYPE_INT] + [Fiddle::TYPE_LONG] * 4
      prctl = Fiddle::Function.new(Fiddle.dlopen(nil)["prctl"], types, Fiddle::TYPE_INT)
      prctl.call(PR_SET_PDEATHSIG, signal, 0, 0, 0)
      exit!(1) if Process.ppid != @master
    end

    def reseed
      srand
      OpenSSL::Random.seed(Random.urandom(32)) if defined?(OpenSSL::Random)
    end

    # The words of one message, and the descriptors that came with it. Ends the process when the master is gone.
    def receive
      data, _, _, *extra = @channel.recvmsg(MESSAGE_BYTES_MAX, 0, CONTROL_BYTES_MAX, scm_rights: true)
      exit!(0) if data.nil? || data.empty?
      ios = extra.select { |item| item.cmsg_is?(:SOCKET, :RIGHTS) }.flat_map(&:unix_rights)
      words = data.split("\0", -1).map { |word| word.force_encoding(Encoding.default_external) }
      [words, ios]
    end

    def tell(*words)
      @channel.send(words.map { |word| word.to_s.b[0, REASON_CHARS_MAX].tr("\0", " ") }.join("\0"), 0)
    rescue SystemCallError
      # Nobody knows of us: the master has given this zygote up.
      exit!(1)
    end
  end
end

EinhornZygote.run
result = einhorn_main
exit(result.is_a?(Integer) ? result : 0)
