#include "schema/codec.h"

#include <capnp/any.h>
#include <capnp/message.h>
#include <capnp/schema-loader.h>
#include <capnp/serialize.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <variant>
#include <vector>

#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "schema/codec_layout.h"
#include "schema/limits.h"
#include "schema/random_message.h"

namespace shoal {
namespace {

constexpr size_t kMessages = std::variant_size_v<MessageVariant>;

template <size_t kIndex = 0>
Message DefaultMessage(size_t index) {
  if constexpr (kIndex + 1 < kMessages) {
    if (index != kIndex) return DefaultMessage<kIndex + 1>(index);
  }
  return std::variant_alternative_t<kIndex, MessageVariant>{};
}

// Compares by the ring form, which names every member, too.
void ExpectRoundTrip(const Message& sent) {
  const absl::StatusOr<Message> received = DecodeMessage(EncodeMessage(sent));
  ASSERT_TRUE(received.ok()) << MessageName(sent) << ": " << received.status();
  EXPECT_EQ(Encode(*received), Encode(sent)) << MessageName(sent);
}

void ExpectRefused(std::string_view bytes) {
  const absl::StatusOr<Message> message = DecodeMessage(bytes);
  ASSERT_FALSE(message.ok());
  EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(message.status().message().find('\n'), absl::string_view::npos) << message.status();
}

// The bytes of a message that a peer made by hand.
template <class Build>
std::string ByHand(uint16_t tag, Build&& build) {
  capnp::MallocMessageBuilder builder;
  auto root = builder.getRoot<capnp::AnyPointer>().initAsAnyStruct(1, 1);
  std::memcpy(root.getDataSection().begin(), &tag, sizeof(tag));
  build(root.getPointerSection()[0]);
  const auto words = capnp::messageToFlatArray(builder);
  return std::string(reinterpret_cast<const char*>(words.begin()), words.size() * sizeof(capnp::word));
}

uint16_t TagOf(const Message& message) {
  const std::string bytes = EncodeMessage(message);
  uint16_t tag = 0;
  std::memcpy(&tag, bytes.data() + 16, sizeof(tag));  // after the segment table and the root pointer
  return tag;
}

// ---- the two descriptions

TEST(CodecSchema, AgreesWithTheHeaders) {
  EXPECT_TRUE(codec::SchemaProblems().empty()) << absl::StrJoin(codec::SchemaProblems(), "\n");
}

struct Small {
  uint64_t count = 0;
  int32_t limit = -1;
  template <class V> void Fields(V& v) { v(count, limit); }
};

// What Binder says of Small beside the schema of a struct `name` with these fields.
struct SmallField {
  capnp::schema::Type::Which type;
  int32_t default_value = 0;
};
std::string ProblemsOfSmall(const char* name, const std::vector<SmallField>& fields) {
  using Type = capnp::schema::Type;
  static uint64_t next_id = 0x8000000000000000;
  capnp::MallocMessageBuilder builder;
  auto node = builder.initRoot<capnp::schema::Node>();
  node.setId(++next_id);
  node.setDisplayName(name);
  auto in_schema = node.initStruct();
  in_schema.setDataWordCount(4);
  auto list = in_schema.initFields(static_cast<unsigned>(fields.size()));
  for (unsigned i = 0; i < fields.size(); ++i) {
    list[i].setName(kj::str("field", i));
    list[i].setCodeOrder(static_cast<uint16_t>(i));
    auto slot = list[i].initSlot();
    slot.setOffset(i * 2);
    if (fields[i].type == Type::UINT64) {
      slot.setOffset(i);
      slot.initType().setUint64();
      slot.initDefaultValue().setUint64(0);
    } else {
      slot.initType().setInt32();
      slot.initDefaultValue().setInt32(fields[i].default_value);
    }
  }
  capnp::SchemaLoader loader;
  codec::g_layout<Small> = {};
  codec::Binder binder;
  binder.BindStruct<Small>(loader.load(node).asStruct());
  return absl::StrJoin(binder.problems(), "\n");
}

TEST(CodecSchema, EveryKindOfDifferenceIsFound) {
  using Type = capnp::schema::Type;
  EXPECT_EQ(ProblemsOfSmall("Small", {{Type::UINT64}, {Type::INT32, -1}}), "");
  EXPECT_EQ(ProblemsOfSmall("Large", {{Type::UINT64}, {Type::INT32, -1}}), "Large: is Small in C++");
  EXPECT_EQ(ProblemsOfSmall("Small", {{Type::UINT64}, {Type::INT32, 5}}),
            "Small field 1 (field1): has another default in the schema");
  EXPECT_EQ(ProblemsOfSmall("Small", {{Type::INT32}, {Type::INT32, -1}}),
            "Small field 0 (field0): has another type in the schema");
  EXPECT_EQ(ProblemsOfSmall("Small", {{Type::UINT64}}), "Small: has 2 fields in C++, 1 in the schema (32 at most)");
  EXPECT_EQ(ProblemsOfSmall("Small", {{Type::UINT64}, {Type::INT32, -1}, {Type::INT32}}),
            "Small: has 2 fields in C++, 3 in the schema (32 at most)");
}

// ---- round trips

TEST(Codec, EveryMessageSurvivesWithRandomValues) {
  Rng rng(1);
  for (size_t index = 0; index < kMessages; ++index) {
    for (int round = 0; round < 100; ++round) ExpectRoundTrip(RandomMessage(rng, index));
  }
}

TEST(Codec, EveryMessageSurvivesWithDefaultValues) {
  for (size_t index = 0; index < kMessages; ++index) ExpectRoundTrip(DefaultMessage(index));
}

TEST(Codec, StructsOfAnOlderPeerGetDefaultsForWhatTheyLack) {
  for (size_t index = 0; index < kMessages; ++index) {
    const Message expected = DefaultMessage(index);
    const std::string bytes = ByHand(TagOf(expected), [](auto pointer) { pointer.initAsAnyStruct(0, 0); });
    const absl::StatusOr<Message> message = DecodeMessage(bytes);
    ASSERT_TRUE(message.ok()) << message.status();
    EXPECT_EQ(Encode(*message), Encode(expected)) << MessageName(expected);
  }
}

TEST(Codec, FieldsOfANewerPeerAreIgnored) {
  const std::string bytes = ByHand(TagOf(RevokeLease{}), [](auto pointer) {
    auto lease = pointer.initAsAnyStruct(5, 3);
    std::fill(lease.getDataSection().begin(), lease.getDataSection().end(), 7);
    lease.getPointerSection()[2].template setAs<capnp::Text>("news");
  });
  const absl::StatusOr<Message> message = DecodeMessage(bytes);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(std::get<RevokeLease>(*message).lease.value, 0x0707070707070707u);
}

TEST(Codec, TagsAreStable) {
  EXPECT_EQ(TagOf(PushTask{}), 0);
  EXPECT_EQ(TagOf(RegisterWorker{}), 11);
  EXPECT_EQ(TagOf(ListStateReply{}), 65);
}

TEST(Codec, BytesMayStartAnywhere) {
  Rng rng(2);
  const Message sent = RandomMessage(rng, 0);
  const std::string bytes = EncodeMessage(sent);
  for (size_t shift = 0; shift < 8; ++shift) {
    const std::string moved = std::string(shift, 'x') + bytes;
    const absl::StatusOr<Message> received = DecodeMessage(std::string_view(moved).substr(shift));
    ASSERT_TRUE(received.ok()) << received.status();
    EXPECT_EQ(Encode(*received), Encode(sent));
  }
}

TEST(Codec, LargeMessagesSurvive) {
  PushTask push;
  push.code = Payload(std::string(5 << 20, 'c'));
  push.spec.args = Payload(std::string(kInlineLimitBytes, 'a'));
  for (int i = 0; i < 1000; ++i) push.spec.nested.push_back({ObjectId{WorkerId{1}, 7}, NodeId{3}});
  ExpectRoundTrip(push);
  ClusterNodes nodes;
  nodes.nodes.resize(5000);
  ExpectRoundTrip(nodes);
  LogLines empty_lines;
  empty_lines.lines.resize(100'000);
  ExpectRoundTrip(empty_lines);
}

// The largest call that is let through, with all that rides along, and the largest reply.
TEST(Codec, TheLargestMessagesFitEveryLink) {
  PushTask push;
  push.spec.name = std::string(kMostNameBytes, 'x');
  push.spec.options = Payload(std::string(kMostSettingsBytes, 'x'));
  push.spec.args = Payload(std::string(kMostArgumentBytes, 'x'));
  push.spec.refs.resize(kMostContained);
  for (ArgRef& arg : push.spec.refs) arg.value.locations.resize(4);
  push.spec.refs[0].value.data = Payload(std::string(kInlineTotalBytes, 'x'));
  push.code = Payload(std::string(kMostCodeBytes, 'x'));
  ASSERT_TRUE(CheckSize(push.spec).ok());
  const Message call = std::move(push);
  EXPECT_LT(EncodedSize(call), kMostMessageBytes);
  EXPECT_LT(EncodeMessage(call).size(), kMostMessageBytes);
  EXPECT_TRUE(DecodeMessage(EncodeMessage(call)).ok());

  TaskReply reply;
  reply.results.resize(kMostReturns);
  for (ObjectValue& value : reply.results) value.locations.resize(1);
  reply.results[0].data = Payload(std::string(kInlineTotalBytes, 'x'));
  reply.results[0].contained.resize(kMostContained);
  const Message answer = std::move(reply);
  EXPECT_LT(EncodedSize(answer), kMostMessageBytes);
  EXPECT_LT(EncodeMessage(answer).size(), kMostMessageBytes);
  EXPECT_TRUE(DecodeMessage(EncodeMessage(answer)).ok());
}

TEST(Codec, BytesThatAreNotUnicodeSurvive) {
  WorkerDied died;
  died.message = std::string("a\0b\xff\xfe", 5);
  ExpectRoundTrip(died);
}

// ---- what is not a message

TEST(CodecRefuses, EveryTruncation) {
  Rng rng(3);
  for (size_t index = 0; index < kMessages; ++index) {
    const std::string bytes = EncodeMessage(RandomMessage(rng, index));
    for (size_t size = 0; size < bytes.size(); ++size) ExpectRefused(std::string_view(bytes).substr(0, size));
  }
}

TEST(CodecRefuses, BytesAfterTheEnd) {
  ExpectRefused(EncodeMessage(Heartbeat{}) + std::string(8, '\0'));
  ExpectRefused(EncodeMessage(Heartbeat{}) + EncodeMessage(Heartbeat{}));
}

TEST(CodecRefuses, ZerosAndNoise) {
  Rng rng(4);
  for (size_t size = 0; size < 200; ++size) ExpectRefused(std::string(size, '\0'));
  for (int round = 0; round < 2000; ++round) {
    std::string noise(8 * rng.Below(40), '\0');
    for (char& c : noise) c = static_cast<char>(rng.Next());
    ExpectRefused(noise);
  }
}

TEST(CodecRefuses, OrSurvivesEveryFlippedByte) {
  Rng rng(5);
  int refused = 0;
  for (size_t index = 0; index < kMessages; ++index) {
    const std::string bytes = EncodeMessage(RandomMessage(rng, index));
    for (size_t at = 0; at < bytes.size(); ++at) {
      std::string damaged = bytes;
      damaged[at] = static_cast<char>(damaged[at] ^ (1 << rng.Below(8)));
      const absl::StatusOr<Message> message = DecodeMessage(damaged);
      if (message.ok()) {
        ExpectRoundTrip(*message);
      } else {
        EXPECT_EQ(message.status().code(), absl::StatusCode::kInvalidArgument);
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 1000);
}

TEST(CodecRefuses, KindsOfANewerPeer) {
  ExpectRefused(ByHand(kMessages, [](auto pointer) { pointer.initAsAnyStruct(1, 1); }));
  ExpectRefused(ByHand(65535, [](auto pointer) { pointer.initAsAnyStruct(1, 1); }));
}

TEST(CodecRefuses, EnumeratorsOfANewerPeer) {
  const std::string bytes = ByHand(TagOf(LeaseFailed{}), [](auto pointer) {
    auto failed = pointer.initAsAnyStruct(1, 1);
    auto error = failed.getPointerSection()[0].initAsAnyStruct(1, 2);
    error.getDataSection()[0] = kEnumerators<ErrorKind>;
  });
  ExpectRefused(bytes);
}

TEST(CodecRefuses, ListsThatClaimMoreThanTheyBring) {
  // 2^29 - 1 elements of no size: a few bytes that would become gigabytes of structs.
  ExpectRefused(ByHand(TagOf(ClusterNodes{}), [](auto pointer) {
    pointer.initAsAnyStruct(1, 1).getPointerSection()[0].initAsListOfAnyStruct(0, 0, (1u << 29) - 1);
  }));
  ExpectRefused(ByHand(TagOf(RenewLeases{}), [](auto pointer) {
    pointer.initAsAnyStruct(0, 1).getPointerSection()[0].initAsAnyList(capnp::ElementSize::VOID, (1u << 29) - 1);
  }));
  // One word each on the wire, hundreds of bytes each in memory.
  ExpectRefused(ByHand(TagOf(ClusterNodes{}), [](auto pointer) {
    pointer.initAsAnyStruct(1, 1).getPointerSection()[0].initAsListOfAnyStruct(1, 0, 10'000);
  }));
}

TEST(CodecRefuses, ListsOfOtherElements) {
  ExpectRefused(ByHand(TagOf(RenewLeases{}), [](auto pointer) {
    pointer.initAsAnyStruct(0, 1).getPointerSection()[0].initAsAnyList(capnp::ElementSize::BIT, 3);
  }));
  ExpectRefused(ByHand(TagOf(FreeObjects{}), [](auto pointer) {
    pointer.initAsAnyStruct(0, 1).getPointerSection()[0].initAsAnyList(capnp::ElementSize::EIGHT_BYTES, 3);
  }));
  ExpectRefused(ByHand(TagOf(LogLines{}), [](auto pointer) {
    pointer.initAsAnyStruct(2, 2).getPointerSection()[1].initAsAnyList(capnp::ElementSize::BYTE, 3);
  }));
}

TEST(CodecRefuses, ResourcesThatAreNotSortedOrZero) {
  const auto report = [](std::vector<std::pair<const char*, int64_t>> amounts) {
    return ByHand(TagOf(AssignLease{}), [&](auto pointer) {
      const codec::StructLayout& layout = codec::g_layout<AssignLease>;
      auto lease = pointer.initAsAnyStruct(layout.data_words, layout.pointers);
      auto set = lease.getPointerSection()[layout.fields[4].at].initAsAnyStruct(0, 1);
      auto list = set.getPointerSection()[0].initAsListOfAnyStruct(1, 1, static_cast<unsigned>(amounts.size()));
      for (unsigned i = 0; i < amounts.size(); ++i) {
        list[i].getPointerSection()[0].template setAs<capnp::Text>(amounts[i].first);
        std::memcpy(list[i].getDataSection().begin(), &amounts[i].second, sizeof(int64_t));
      }
    });
  };
  EXPECT_TRUE(DecodeMessage(report({{"CPU", 1}, {"GPU", -1}})).ok());
  ExpectRefused(report({{"GPU", 1}, {"CPU", 1}}));
  ExpectRefused(report({{"CPU", 1}, {"CPU", 1}}));
  ExpectRefused(report({{"CPU", 0}}));
}

}  // namespace
}  // namespace shoal
