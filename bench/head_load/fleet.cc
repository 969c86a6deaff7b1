#include "bench/head_load/fleet.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/bin/admin_client.h"
#include "runtime/io/clock.h"
#include "runtime/io/runtime_directory.h"
#include "runtime/io/zmq_socket.h"

namespace shoal::head_load {
namespace {

constexpr Duration kAway = 1s;
constexpr char kTokenLife[] = "600";

absl::StatusOr<io::JoinToken> NewToken(bin::AdminClient* head) {
  const absl::StatusOr<io::Json> rows = head->List(Address::Head(), "token", kTokenLife);
  if (!rows.ok()) return rows.status();
  if (rows->items().empty()) return absl::UnavailableError("the head made no token");
  return io::JoinToken::Parse(rows->items()[0].Text("token"));
}

NodeInfo Describe(NodeId id, uint32_t cpus, const io::KeyPair& keys) {
  NodeInfo info;
  info.id = id;
  info.name = absl::StrCat("load-", id.Hex());
  info.public_key = keys.public_key;
  info.total = ResourceSet::Of({{"CPU", cpus}});
  return info;
}

}  // namespace

Fleet::Fleet(const FleetOptions& options, io::DaemonLoop* loop)
    : options_(options),
      loop_(loop),
      rng_(io::RandomSeed()),
      leases_(loop, rng_.Next()),
      actors_(RequestLoad::Kind::kActors, rng_.Next()),
      groups_(RequestLoad::Kind::kGroups, rng_.Next()) {}

Fleet::~Fleet() { unlink(SocketOf(options_.part).c_str()); }

absl::StatusOr<std::unique_ptr<Fleet>> Fleet::Join(const FleetOptions& options, io::DaemonLoop* loop) {
  std::unique_ptr<Fleet> fleet(new Fleet(options, loop));
  absl::Status status = fleet->Listen();
  if (status.ok()) status = fleet->Enrol();
  if (!status.ok()) return status;
  fleet->AddOwners();
  loop->Add(fleet.get());
  return fleet;
}

absl::Status Fleet::Enrol() {
  absl::StatusOr<std::string> text = io::ReadFile(options_.directory + "/cluster.json");
  if (!text.ok()) return text.status();
  const absl::StatusOr<io::Json> cluster = io::Json::Parse(*text);
  if (!cluster.ok()) return cluster.status();
  absl::StatusOr<bin::AdminClient> head = bin::AdminClient::Connect(options_.directory);
  if (!head.ok()) return head.status();
  const auto context = std::make_shared<const io::ZmqContext>(io::ZmqContext::Create());
  const io::Peer peer{.endpoint = cluster->Text("endpoint"), .public_key = cluster->Text("head_public_key")};
  for (uint32_t i = 0; i < options_.nodes; ++i) {
    const absl::StatusOr<io::JoinToken> token = NewToken(&*head);
    if (!token.ok()) return token.status();
    NodeOptions node{.keys = io::KeyPair::Draw(), .cluster_id = token->cluster_id, .head = peer, .context = context};
    const absl::StatusOr<io::Enrolment> enrolment = io::Enrol(peer.endpoint, *token, node.keys.public_key);
    if (!enrolment.ok()) return enrolment.status();
    node.info = Describe(enrolment->node, options_.cpus, node.keys);
    node.hold = options_.hold;
    nodes_.push_back(std::make_unique<Node>(std::move(node), loop_, this));
  }
  return absl::OkStatus();
}

void Fleet::AddOwners() {
  for (uint32_t i = 0; i < options_.owners; ++i) {
    // Each process and job has a name of its own among all parts.
    const uint64_t name = (uint64_t{options_.part} + 1) << 48 | (rng_.Next() >> 16);
    Node* node = nodes_[i % nodes_.size()].get();
    const Address owner = node->AddDriver(JobId{name}, WorkerId{name});
    leases_.AddOwner(node, owner, JobId{name});
    actors_.AddOwner(node, owner, JobId{name});
    groups_.AddOwner(node, owner, JobId{name});
  }
}

void Fleet::Dial() {
  for (const auto& node : nodes_) node->Dial();
}

size_t Fleet::in_cluster() const {
  return static_cast<size_t>(std::count_if(nodes_.begin(), nodes_.end(), [](const auto& node) { return node->in_cluster(); }));
}

void Fleet::Churn(double per_second) {
  const bool began = churn_ == 0 && per_second > 0;
  churn_ = per_second;
  if (began) LeaveOne();
}

// Nodes of owners stay, so that the load does.
void Fleet::LeaveOne() {
  if (churn_ == 0) return;
  loop_->timers().After(Duration(static_cast<int64_t>(1e9 / churn_)), [this] { LeaveOne(); });
  if (options_.nodes <= options_.owners) return;
  Node* node = nodes_[options_.owners + rng_.Below(options_.nodes - options_.owners)].get();
  if (!node->in_cluster()) return;
  ++left_;
  node->Leave(/*politely=*/left_ % 2 == 0);
  loop_->timers().After(kAway, [node] { node->Dial(); });
}

// ---- owners, here and elsewhere

Fleet::Tally& Fleet::TallyOf(const Address& owner, ShapeId shape) {
  Tally& tally = untold_[{owner, shape}];
  tally.owner = owner;
  tally.shape = shape;
  return tally;
}

void Fleet::Granted(const Address& owner, ShapeId shape, uint32_t count) {
  if (PartOf(owner) == options_.part) return leases_.Granted(owner, shape, count);
  TallyOf(owner, shape).granted += count;
}

void Fleet::Ended(const Address& owner, ShapeId shape) {
  if (PartOf(owner) == options_.part) return leases_.Ended(owner, shape, 1);
  ++TallyOf(owner, shape).ended;
}

void Fleet::Receive(const Address& process, Message&& message) {
  actors_.Receive(process, message);
  groups_.Receive(process, message);
}

std::string Fleet::SocketOf(uint32_t part) const { return absl::StrCat(options_.directory, "/load-", part, ".sock"); }

absl::Status Fleet::Listen() {
  socket_ = io::UniqueFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{.sun_family = AF_UNIX};
  std::strncpy(address.sun_path, SocketOf(options_.part).c_str(), sizeof(address.sun_path) - 1);
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(absl::StrCat("cannot listen at ", SocketOf(options_.part), ": ", std::strerror(errno)));
  }
  return loop_->events().AddFd(socket_.get(), EPOLLIN, [this](uint32_t) { Hear(); });
}

void Fleet::Hear() {
  Tally tally;
  while (recv(socket_.get(), &tally, sizeof(tally), 0) == sizeof(tally)) {
    leases_.Granted(tally.owner, tally.shape, tally.granted);
    leases_.Ended(tally.owner, tally.shape, tally.ended);
  }
}

// What finds the other's queue full goes with the next turn.
bool Fleet::Carry() {
  for (auto it = untold_.begin(); it != untold_.end();) {
    sockaddr_un address{.sun_family = AF_UNIX};
    std::strncpy(address.sun_path, SocketOf(PartOf(it->second.owner)).c_str(), sizeof(address.sun_path) - 1);
    const ssize_t sent = sendto(socket_.get(), &it->second, sizeof(Tally), 0, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    if (sent < 0) break;
    untold_.erase(it++);
  }
  return false;
}

}  // namespace shoal::head_load
