#include "runtime/raylet/raylet.h"

#include "runtime/raylet/impl.h"

namespace shoal::raylet {

Raylet::Raylet(RayletOptions options, Rng rng) : impl_(std::make_unique<Impl>(std::move(options), rng)) {}
Raylet::~Raylet() = default;

void Raylet::Start(TimePoint now, RayletActions* actions) { impl_->Start({now, actions}); }

void Raylet::OnMessage(TimePoint now, const Address& from, Message&& message, RayletActions* actions) {
  impl_->OnMessage({now, actions}, from, std::move(message));
}

void Raylet::OnWorkerExited(TimePoint now, WorkerId worker, const std::string& how, RayletActions* actions) {
  impl_->OnWorkerExited({now, actions}, worker, how);
}

void Raylet::OnWorkerStartFailed(TimePoint now, WorkerId worker, const ErrorInfo& error, RayletActions* actions) {
  impl_->OnWorkerStartFailed({now, actions}, worker, error);
}

void Raylet::OnPeerReset(TimePoint now, NodeId node, RayletActions* actions) { impl_->OnPeerReset({now, actions}, node); }

void Raylet::OnTransferDone(TimePoint now, const ObjectId& object, bool ok, RayletActions* actions) {
  impl_->OnTransferDone({now, actions}, object, ok);
}

void Raylet::OnUndeliverable(TimePoint now, const Address& from, const Address& to, RayletActions* actions) {
  impl_->OnUndeliverable({now, actions}, from, to);
}

void Raylet::OnTick(TimePoint now, RayletActions* actions) { impl_->OnTick({now, actions}); }
std::optional<TimePoint> Raylet::NextDeadline() const { return impl_->NextDeadline(); }
void Raylet::CheckInvariants() const { impl_->CheckInvariants(); }

std::optional<ObjectBlock> Raylet::PinForTransfer(const ObjectId& object) {
  const std::optional<objectstore::Block> block = impl_->store().PinForTransfer(object);
  if (!block) return std::nullopt;
  return ObjectBlock{block->offset, block->size};
}
void Raylet::UnpinAfterTransfer(const ObjectId& object) { impl_->store().UnpinAfterTransfer(object); }

Address Raylet::DriverOf(JobId job) const { return impl_->jobs().DriverOf(job); }
std::string Raylet::LogPrefixOf(WorkerId worker) const { return impl_->LogPrefixOf(worker); }

JobId Raylet::JobOf(WorkerId worker) const {
  const Worker* found = impl_->pool().Find(worker);
  return found == nullptr ? JobId{} : found->job;
}

std::string Raylet::Remains() const { return impl_->Remains(); }

}  // namespace shoal::raylet
