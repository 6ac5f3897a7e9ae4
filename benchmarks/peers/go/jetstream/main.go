// NATS with JetStream, its streams in files, as a program that prints where clients come: jetstream FOLDER
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	options := &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true,
		JetStream: true, StoreDir: os.Args[1],
	}
	nats, err := server.NewServer(options)
	if err != nil {
		log.Fatal(err)
	}
	go nats.Start()
	if !nats.ReadyForConnections(10 * time.Second) {
		log.Fatal("nats-server is not ready after 10 s")
	}
	fmt.Printf("serves on http://%s\n", nats.Addr())
	wait()
	nats.Shutdown()
}

// wait returns when standard input ends, or on SIGTERM.
func wait() {
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ending <- syscall.SIGTERM
	}()
	<-ending
}
