// A net/http server written for systemd: LISTEN_FDS, READY=1, SIGTERM. It knows nothing of einhorn.
package main

import (
	"context"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// firstListenFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstListenFD = 3

func listener() (net.Listener, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", "127.0.0.1:8080") // started by hand
	}
	file := os.NewFile(firstListenFD, "LISTEN_FD_3")
	defer file.Close() // FileListener works on a copy
	return net.FileListener(file)
}

// notify is sd_notify(3).
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	manager, err := net.Dial("unixgram", path)
	if err != nil {
		return err
	}
	defer manager.Close()
	_, err = manager.Write([]byte(state))
	return err
}

func main() {
	socket, err := listener()
	if err != nil {
		log.Fatal(err)
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, "go-systemd generation=%s slot=%s pid=%d\n",
				os.Getenv("EINHORN_GENERATION"), os.Getenv("EINHORN_CHILD_INDEX"), os.Getpid())
		}),
	}
	go func() {
		if err := server.Serve(socket); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()
	if err := notify("READY=1"); err != nil {
		log.Fatal(err)
	}
	<-stop.Done()
	if err := server.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
}
