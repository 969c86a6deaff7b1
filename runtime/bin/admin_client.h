// The command line's connection to a runtime: through head.sock or raylet.sock of its directory, as Role::kAdmin. Blocking.
//
//   absl::StatusOr<AdminClient> client = AdminClient::Connect(directory);
//   absl::StatusOr<Json> rows = client->List(Address::Head(), "nodes");
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "runtime/io/json.h"
#include "runtime/io/local_socket.h"
#include "schema/messages.h"

namespace shoal::bin {

class AdminClient {
 public:
  // NotFound if no runtime runs in that directory, Unavailable if it does not answer.
  static absl::StatusOr<AdminClient> Connect(const std::string& directory);

  struct Answer {
    io::Json rows;
    std::string note;  // what is missing from them, for people
  };
  // A table (ListState). Unavailable without an answer in `timeout`; InvalidArgument with the answer's own words.
  absl::StatusOr<Answer> Ask(const Address& to, const std::string& kind, const std::string& argument, Duration timeout);
  // Its rows alone, within 5 s.
  absl::StatusOr<io::Json> List(const Address& to, const std::string& kind, const std::string& argument = "");
  // The node whose raylet we are connected to; 0: the head.
  NodeId node() const { return node_; }
  bool at_head() const { return !node_; }

 private:
  AdminClient(std::string directory, io::LocalSocket socket) : directory_(std::move(directory)), socket_(std::move(socket)) {}
  absl::Status Register();
  absl::Status Send(const Address& to, const Message& message);
  // The next message, until `deadline`.
  absl::StatusOr<Message> Receive(TimePoint deadline);

  std::string directory_;
  io::LocalSocket socket_;
  NodeId node_;
  uint64_t next_request_ = 0;
};

// A sentence about a daemon of the directory that a signal has stopped; "" if there is none.
std::string StoppedDaemon(const std::string& directory);

}  // namespace shoal::bin
