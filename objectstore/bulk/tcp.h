// The few system calls that both ends of a bulk connection need. Internal to objectstore/bulk.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/io/fd.h"

namespace shoal::bulk {

// A listening, non-blocking socket; `port` 0 lets the kernel choose. Unavailable names address and
// port.
absl::StatusOr<io::UniqueFd> ListenTcp(const std::string& host, uint16_t port);
// The port that a socket is bound to; 0 if it is none.
uint16_t BoundPort(int fd);
// Starts to connect a non-blocking socket; it is writable once that is decided. InvalidArgument if
// `host` is not a numeric address: a name would have to be looked up, which blocks every other
// transfer.
absl::StatusOr<io::UniqueFd> StartConnect(const std::string& host, uint16_t port);
// Why the attempt failed, or OK.
absl::Status ConnectResult(int fd);
// No delay for small frames, and an error when the peer's machine is gone.
void SetTransferOptions(int fd);
// In a thread that has no business with signals.
void BlockSignals();

}  // namespace shoal::bulk
