#include "runtime/io/core_links.h"

#include <algorithm>
#include <utility>

#include "base/fields.h"

namespace shoal::io {

CoreLinks::Link& CoreLinks::LinkTo(WorkerId peer) {
  if (last_ != nullptr && last_->peer == peer) return *last_;
  std::unique_ptr<Link>& link = by_peer_[peer];
  if (link == nullptr) {
    link = std::make_unique<Link>();
    link->peer = peer;
    links_.push_back(link.get());
  }
  return *(last_ = link.get());
}

void CoreLinks::Open(Link& link) {
  if (link.asked) return;
  if (link.offered != nullptr) {
    link.out = link.offered.get();
    return;
  }
  absl::StatusOr<std::unique_ptr<RingPair>> made = RingPair::Create();
  if (!made.ok()) return;  // no descriptor or memory is left; Flush tries again
  link.asked = true;
  link.made = *std::move(made);
  connect_(link.peer, link.made->memfd());
}

void CoreLinks::Send(WorkerId peer, const Message& message) {
  Link& link = LinkTo(peer);
  if (link.out == nullptr) Open(link);
  if (link.out == nullptr || !link.waiting.empty() || !Write(link, message)) {
    if (link.waiting.empty()) ++waiting_links_;
    link.waiting.push_back(Encode(message));
  }
}

bool CoreLinks::Write(Link& link, const Message& message) {
  const size_t size = EncodedSize(message);
  if (char* to = link.out->out().Reserve(size)) {
    EncodeTo(message, to);
    link.out->out().Commit();
    MarkDirty(link);
    return true;
  }
  const bool whole = link.out->out().TryWrite(Encode(message));
  MarkDirty(link);  // a part may be there, and makes room for the rest once it is read
  return whole;
}

void CoreLinks::MarkDirty(Link& link) {
  if (std::exchange(link.dirty, true)) return;
  dirty_.push_back(&link);
}

void CoreLinks::OnConnected(WorkerId peer, DoorbellHandle doorbell) {
  Link& link = LinkTo(peer);
  if (link.made == nullptr) return;
  link.doorbell = std::make_unique<DoorbellHandle>(std::move(doorbell));
  link.out = link.made.get();
  Flush();
}

void CoreLinks::OnRefused(WorkerId peer) {
  Link& link = LinkTo(peer);
  // The peer is gone; whoever waits for it hears of its death from the raylet.
  if (!link.waiting.empty()) --waiting_links_;
  link.waiting.clear();
  link.asked = false;
  link.made.reset();
}

absl::Status CoreLinks::OnOffered(WorkerId peer, UniqueFd ring, DoorbellHandle doorbell) {
  absl::StatusOr<std::unique_ptr<RingPair>> offered = RingPair::Attach(std::move(ring));
  if (!offered.ok()) return offered.status();
  Link& link = LinkTo(peer);
  link.offered = *std::move(offered);
  if (link.doorbell == nullptr) link.doorbell = std::make_unique<DoorbellHandle>(std::move(doorbell));
  return absl::OkStatus();
}

void CoreLinks::OnDied(WorkerId peer, const Deliver& deliver) {
  const auto it = by_peer_.find(peer);
  if (it == by_peer_.end()) return;
  Link& link = *it->second;
  for (RingPair* pair : {link.made.get(), link.offered.get()}) {
    while (pair != nullptr && ReceiveFrom(link, pair, SIZE_MAX, deliver) > 0) {
    }
  }
  if (!link.waiting.empty()) --waiting_links_;
  if (last_ == &link) last_ = nullptr;
  std::erase(links_, &link);
  std::erase(dirty_, &link);
  by_peer_.erase(peer);
}

size_t CoreLinks::ReceiveFrom(Link& link, RingPair* pair, size_t budget, const Deliver& deliver) {
  size_t count = 0;
  std::string_view record;
  while (count < budget && pair->in().Peek(&record)) {
    Message message;
    const bool valid = Decode(record, &message);
    pair->in().Pop();
    ++count;
    if (valid) deliver(link.peer, std::move(message));
  }
  if (count > 0) pair->in().Publish();
  return count;
}

bool CoreLinks::Receive(size_t budget, const Deliver& deliver) {
  bool any = false;
  // By index: delivering may make new links.
  for (size_t i = 0; i < links_.size(); ++i) {
    Link& link = *links_[i];
    if (link.made != nullptr) any |= ReceiveFrom(link, link.made.get(), budget, deliver) > 0;
    if (link.offered != nullptr) any |= ReceiveFrom(link, link.offered.get(), budget, deliver) > 0;
  }
  return any;
}

bool CoreLinks::Flush() {
  if (waiting_links_ == 0) return false;
  for (Link* link : links_) {
    if (link->waiting.empty()) continue;
    if (link->out == nullptr) Open(*link);
    if (link->out == nullptr) continue;
    while (!link->waiting.empty() && link->out->out().TryWrite(link->waiting.front())) link->waiting.pop_front();
    MarkDirty(*link);
    if (link->waiting.empty()) --waiting_links_;
  }
  return waiting_links_ > 0;
}

void CoreLinks::RingDoorbells() {
  for (Link* link : dirty_) {
    link->dirty = false;
    if (link->doorbell != nullptr) link->doorbell->Ring();
  }
  dirty_.clear();
}

bool CoreLinks::HasInput() const {
  for (const Link* link : links_) {
    if (link->made != nullptr && link->made->in().HasData()) return true;
    if (link->offered != nullptr && link->offered->in().HasData()) return true;
  }
  return false;
}

}  // namespace shoal::io
