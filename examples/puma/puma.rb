# Serve on the inherited sockets only, whatever their address.
bind_to_activated_sockets "only"
threads 4, 4
