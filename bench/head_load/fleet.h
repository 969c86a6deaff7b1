// The nodes of one process, and its part in a fleet of several processes: a descriptor limit may not allow all nodes in one. Owners
// hear of grants on other parts' nodes over datagram sockets, as they would from those raylets.
//
//   auto fleet = Fleet::Join({.directory = dir, .part = 0, .parts = 1, .nodes = 1'000}, &loop);   // keys, tokens, enrolment
//   fleet->Dial();                                                                                 // ready() when all are in
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "base/rng.h"
#include "bench/head_load/leases.h"
#include "bench/head_load/node.h"
#include "bench/head_load/requests.h"

namespace shoal::head_load {

struct FleetOptions {
  std::string directory;  // of the head's runtime
  uint32_t part = 0, parts = 1;
  uint32_t nodes = 1;     // of this part
  uint32_t cpus = 16;     // of each
  uint32_t owners = 16;   // of this part
  Duration hold = 100ms;  // how long a lease is kept
};

class Fleet : public Owners, public io::LoopPart {
 public:
  // Has all its nodes admitted, each by a token of its own.
  static absl::StatusOr<std::unique_ptr<Fleet>> Join(const FleetOptions& options, io::DaemonLoop* loop);
  ~Fleet() override;

  void Dial();
  size_t in_cluster() const;
  uint32_t nodes() const { return options_.nodes; }
  double cpus() const { return static_cast<double>(options_.nodes) * options_.cpus; }
  // So many nodes a second leave, every other without a word, and come back a second later. 0: none from now on.
  void Churn(double per_second);
  uint64_t left() const { return left_; }

  LeaseLoad& leases() { return leases_; }
  RequestLoad& actors() { return actors_; }
  RequestLoad& groups() { return groups_; }

  // Owners:
  void Granted(const Address& owner, ShapeId shape, uint32_t count) override;
  void Ended(const Address& owner, ShapeId shape) override;
  void Receive(const Address& process, Message&& message) override;
  // LoopPart: tells the other parts.
  bool Carry() override;
  std::optional<TimePoint> NextDeadline() const override { return std::nullopt; }
  void OnTick(TimePoint) override {}

 private:
  struct Tally {
    Address owner;
    ShapeId shape;
    uint32_t granted = 0, ended = 0;
  };

  Fleet(const FleetOptions& options, io::DaemonLoop* loop);
  absl::Status Enrol();
  absl::Status Listen();
  void AddOwners();
  void LeaveOne();
  void Hear();
  std::string SocketOf(uint32_t part) const;
  uint32_t PartOf(const Address& owner) const { return static_cast<uint32_t>(owner.worker.value >> 48) - 1; }
  Tally& TallyOf(const Address& owner, ShapeId shape);

  const FleetOptions options_;
  io::DaemonLoop* const loop_;
  Rng rng_;
  std::vector<std::unique_ptr<Node>> nodes_;
  LeaseLoad leases_;
  RequestLoad actors_, groups_;
  io::UniqueFd socket_;
  absl::flat_hash_map<std::pair<Address, ShapeId>, Tally> untold_;  // of other parts' owners
  double churn_ = 0;
  uint64_t left_ = 0;
};

}  // namespace shoal::head_load
