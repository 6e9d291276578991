require "json"
require "puma/plugin"
require "socket"

# Serve on the inherited sockets only, whatever their address.
bind_to_activated_sockets "only"
threads 4, 4

# The ACK, when puma has booted.
Puma::Plugins.register("einhorn", Class.new(Puma::Plugin) do
  def start(launcher)
    launcher.events.on_booted do
      UNIXSocket.open(ENV.fetch("EINHORN_SOCK_PATH").sub(/\A@/, "\0")) do |master|
        master.puts JSON.generate(command: "worker:ack", pid: Process.pid)
      end
    end
  end
end)
plugin "einhorn"
