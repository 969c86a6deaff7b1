#include "runtime/io/keys.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

namespace shoal::io {
namespace {

using testing::HasSubstr;

class KeysTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/shoal-keys-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/node.key";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  void Write(const std::string& text) {
    std::ofstream(path_) << text;
    chmod(path_.c_str(), 0600);
  }

  std::string directory_, path_;
};

TEST_F(KeysTest, TheSamePairIsReadAgain) {
  const auto drawn = LoadOrCreateKeys(path_);
  ASSERT_TRUE(drawn.ok()) << drawn.status();
  EXPECT_EQ(drawn->public_key.size(), 40u);
  const auto read = LoadOrCreateKeys(path_);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->public_key, drawn->public_key);
  EXPECT_EQ(read->secret_key, drawn->secret_key);
  struct stat info {};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1) << "nothing is left beside it";
}

TEST_F(KeysTest, TwoThatStartAtOnceGetOnePair) {
  std::vector<std::string> keys(8);
  std::vector<std::thread> threads;
  for (std::string& key : keys) {
    threads.emplace_back([&] {
      const auto pair = LoadOrCreateKeys(path_);
      if (pair.ok()) key = pair->public_key;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(keys, testing::Each(keys[0]));
  EXPECT_NE(keys[0], "");
}

TEST_F(KeysTest, AFileThatOthersCanReadIsRefused) {
  ASSERT_TRUE(LoadOrCreateKeys(path_).ok());
  chmod(path_.c_str(), 0640);
  const auto keys = LoadOrCreateKeys(path_);
  EXPECT_EQ(keys.status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_THAT(std::string(keys.status().message()), HasSubstr(path_));
}

TEST_F(KeysTest, ADamagedFileIsNamedAndLeftAlone) {
  const auto whole = LoadOrCreateKeys(path_);
  ASSERT_TRUE(whole.ok());
  const std::string pair = "shoal node key 1\n" + whole->public_key + "\n" + whole->secret_key + "\n";
  for (const std::string& text :
       {std::string(), std::string("shoal node key 1\n"), pair.substr(0, pair.size() - 10),
        "shoal node key 1\n" + KeyPair::Draw().public_key + "\n" + whole->secret_key + "\n", std::string(5000, 'x')}) {
    std::filesystem::remove(path_);
    Write(text);
    const auto keys = LoadOrCreateKeys(path_);
    EXPECT_EQ(keys.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(keys.status().message()), HasSubstr(path_));
    EXPECT_EQ(std::filesystem::file_size(path_), text.size());
  }
}

TEST_F(KeysTest, ADirectoryThatIsNotThereIsNamed) {
  const auto keys = LoadOrCreateKeys(directory_ + "/no/node.key");
  EXPECT_EQ(keys.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(keys.status().message()), HasSubstr("/no/node.key"));
}

JoinToken SomeToken() {
  return {.cluster_id = 0x0123456789abcdef, .head_public_key = KeyPair::Draw().public_key, .keys = KeyPair::Draw()};
}

TEST(JoinToken, SurvivesBeingCopied) {
  const JoinToken token = SomeToken();
  const std::string text = token.ToString();
  EXPECT_THAT(text, testing::MatchesRegex("[A-Za-z0-9_-]+"));
  const auto parsed = JoinToken::Parse("  " + text + "\n");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(JoinToken::Parse("shoal start --address 10.0.0.1:6380 --token " + text).ok()) << "the whole printed line";
  EXPECT_EQ(parsed->cluster_id, token.cluster_id);
  EXPECT_EQ(parsed->head_public_key, token.head_public_key);
  EXPECT_EQ(parsed->keys.public_key, token.keys.public_key);
  EXPECT_EQ(parsed->keys.secret_key, token.keys.secret_key);
}

TEST(JoinToken, ADamagedOneIsRefusedWhateverIsDamaged) {
  const std::string text = SomeToken().ToString();
  for (size_t i = 0; i < text.size(); ++i) {
    std::string damaged = text;
    damaged[i] = damaged[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(JoinToken::Parse(damaged).status().code(), absl::StatusCode::kInvalidArgument) << i;
    EXPECT_FALSE(JoinToken::Parse(text.substr(0, i)).ok()) << i;
  }
  EXPECT_FALSE(JoinToken::Parse(text + "A").ok());
  EXPECT_FALSE(JoinToken::Parse(text + text).ok());
}

TEST(SharedBulkKey, IsTheSameFromBothEndsAndForNobodyElse) {
  const KeyPair a = KeyPair::Draw(), b = KeyPair::Draw(), c = KeyPair::Draw();
  const bulk::BulkKey ab = *SharedBulkKey(a, b.public_key), ba = *SharedBulkKey(b, a.public_key);
  EXPECT_EQ(ab.id, ba.id);
  EXPECT_EQ(ab.secret, ba.secret);
  EXPECT_NE(SharedBulkKey(a, c.public_key)->secret, ab.secret);
  EXPECT_NE(SharedBulkKey(a, c.public_key)->id, ab.id);
  EXPECT_NE(SharedBulkKey(c, b.public_key)->secret, ab.secret);
  EXPECT_EQ(SharedBulkKey(a, "no key").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace shoal::io
