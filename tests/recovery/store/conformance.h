/// What every Store promises (recovery/store/store.h), as one suite. A test program includes this and
/// instantiates StoreConformance with its stores.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "algos/base/random.h"
#include "recovery/state/store_key.h"
#include "recovery/store/store.h"
#include "tests/recovery/store/store_test.h"

namespace tessera::recovery {

/// A place that stores open, empty at first and removed at the end.
class StorePlace {
 public:
  virtual ~StorePlace() = default;
  StorePlace() = default;
  StorePlace(const StorePlace&) = delete;
  StorePlace& operator=(const StorePlace&) = delete;
  /// A handle of its own, as another process would have.
  [[nodiscard]] virtual std::unique_ptr<Store> open() = 0;
};

struct StoreKind {
  std::string name;
  std::function<std::unique_ptr<StorePlace>()> make;
};
inline void PrintTo(const StoreKind& kind, std::ostream* out) { *out << kind.name; }

/// An object that proves its own wholeness: a seed, and as many bytes after it as the seed says.
inline std::vector<std::byte> self_proving(std::uint64_t seed, std::size_t most) {
  std::vector<std::byte> bytes = random_bytes(seed, 8 + mix64(seed) % most);
  std::memcpy(bytes.data(), &seed, 8);
  return bytes;
}
inline bool proves_itself(const std::vector<std::byte>& bytes, std::size_t most) {
  std::uint64_t seed = 0;
  if (bytes.size() < 8) return false;
  std::memcpy(&seed, bytes.data(), 8);
  return bytes == self_proving(seed, most);
}

class StoreConformance : public ::testing::TestWithParam<StoreKind> {
 protected:
  StoreConformance() : place_(GetParam().make()), store_(place_->open()) {}
  [[nodiscard]] Store& store() { return *store_; }
  [[nodiscard]] StorePlace& place() { return *place_; }

 private:
  std::unique_ptr<StorePlace> place_;
  std::unique_ptr<Store> store_;
};

TEST_P(StoreConformance, GivesBackWhatWasPut) {
  std::uint64_t seed = 0;
  for (const std::size_t size : {0UL, 1UL, 7UL, 4096UL, 4097UL, 65'536UL, 1'000'003UL}) {
    const std::vector<std::byte> bytes = random_bytes(++seed, size);
    const std::string key = "job/object-" + std::to_string(size);
    ASSERT_TRUE(put_bytes(store(), key, bytes).ok());
    const auto found = store().size(key);
    ASSERT_TRUE(found.ok()) << found.status().message();
    EXPECT_EQ(found.value(), static_cast<std::int64_t>(size));
    const auto read = read_all(store(), key);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read.value(), bytes);
  }
}

TEST_P(StoreConformance, PiecesFollowEachOther) {
  const std::vector<std::byte> bytes = random_bytes(1, 10'000);
  const Bytes all = bytes;
  const std::vector<Bytes> pieces = {{}, all.first(1), all.subspan(1, 4095), {}, all.subspan(4096), {}};
  EXPECT_OK(store().put("pieces", pieces));
  const auto read = read_all(store(), "pieces");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), bytes);
  EXPECT_OK(store().put("nothing", {}));
  const auto nothing = store().size("nothing");
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing.value(), 0);
}

TEST_P(StoreConformance, ReadsAnyRange) {
  const std::vector<std::byte> bytes = random_bytes(2, 50'000);
  ASSERT_TRUE(put_bytes(store(), "a/b", bytes).ok());
  for (int i = 0; i < 40; ++i) {
    const std::size_t offset = mix64(static_cast<std::uint64_t>(i)) % (bytes.size() + 1);
    const std::size_t count = mix64(static_cast<std::uint64_t>(i) + 100) % (bytes.size() - offset + 1);
    std::vector<std::byte> into(count);
    ASSERT_TRUE(store().read("a/b", static_cast<std::int64_t>(offset), into).ok()) << offset << " " << count;
    EXPECT_TRUE(std::equal(into.begin(), into.end(), bytes.begin() + static_cast<std::ptrdiff_t>(offset)));
  }
}

TEST_P(StoreConformance, AnObjectThatEndsEarlyIsLostData) {
  ASSERT_TRUE(put_bytes(store(), "short", random_bytes(3, 100)).ok());
  for (const std::int64_t offset : {0, 50, 100, 101, 5000}) {
    std::vector<std::byte> into(101);
    const Status status = store().read("short", offset, into);
    EXPECT_EQ(status.code(), Code::kDataLoss) << offset << ": " << status.message();
    EXPECT_NE(status.message().find("short"), std::string::npos) << status.message();
  }
  EXPECT_OK(store().read("short", 100, {}));
  EXPECT_EQ(store().read("short", 101, {}).code(), Code::kDataLoss);
  std::byte one{};
  EXPECT_EQ(store().read("short", -1, {&one, 1}).code(), Code::kInvalidArgument);
  EXPECT_EQ(store().read("short", INT64_MAX, {&one, 1}).code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, ReplacesAnObject) {
  std::vector<std::byte> bytes;
  for (const std::size_t size : {5000UL, 100'000UL, 3UL, 0UL, 17UL}) {
    bytes = random_bytes(size, size);
    ASSERT_TRUE(put_bytes(store(), "again", bytes).ok());
    const auto read = read_all(store(), "again");
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read.value(), bytes);
  }
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{"again"});
}

TEST_P(StoreConformance, AnAbsentObjectIsNotFound) {
  ASSERT_TRUE(put_bytes(store(), "job/there", random_bytes(4, 10)).ok());
  std::vector<std::byte> into(1);
  for (const char* key : {"absent", "job", "job/absent", "job/there/below", "job/ther", "job/there2"}) {
    EXPECT_EQ(store().size(key).status().code(), Code::kNotFound) << key;
    const Status read = store().read(key, 0, into);
    EXPECT_EQ(read.code(), Code::kNotFound) << key;
    EXPECT_NE(read.message().find(key), std::string::npos) << read.message();
    EXPECT_EQ(store().read(key, 0, {}).code(), Code::kNotFound) << key;
    EXPECT_OK(store().remove(key));
  }
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{"job/there"});
}

TEST_P(StoreConformance, ListsWhatIsBelow) {
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{});
  EXPECT_EQ(keys_of(store(), "job/"), std::vector<std::string>{});
  const std::vector<std::string> keys = {
      "a",      "job-2/x",  "job.json", "job/step-1/a", "job/step-1/b", "job/step-10/a", "job/step-2/a",
      "job2/x", "z/y/x/w/v"};
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    ASSERT_TRUE(put_bytes(store(), *key, random_bytes(5, 3)).ok()) << *key;
  }
  EXPECT_EQ(keys_of(store()), keys);
  EXPECT_EQ(keys_of(store(), "job/"), (std::vector<std::string>{keys.begin() + 3, keys.begin() + 7}));
  EXPECT_EQ(keys_of(store(), "job/step-1/"), (std::vector<std::string>{"job/step-1/a", "job/step-1/b"}));
  EXPECT_EQ(keys_of(store(), "a/"), std::vector<std::string>{});
  EXPECT_EQ(keys_of(store(), "z/y/"), std::vector<std::string>{"z/y/x/w/v"});
}

TEST_P(StoreConformance, ListsMoreThanAPage) {
  std::vector<std::string> keys;
  for (int i = 0; i < 60; ++i) {
    keys.push_back("many/" + std::to_string(i));
    ASSERT_TRUE(put_bytes(store(), keys.back(), random_bytes(6, 1)).ok());
  }
  std::sort(keys.begin(), keys.end());
  EXPECT_EQ(keys_of(store(), "many/"), keys);
}

TEST_P(StoreConformance, RemovesOneObject) {
  for (const char* key : {"job/a", "job/b", "other/c"}) {
    ASSERT_TRUE(put_bytes(store(), key, random_bytes(7, 20)).ok());
  }
  EXPECT_OK(store().remove("job/a"));
  EXPECT_EQ(keys_of(store()), (std::vector<std::string>{"job/b", "other/c"}));
  EXPECT_OK(store().remove("job/b"));
  EXPECT_OK(store().remove("other/c"));
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{});
  ASSERT_TRUE(put_bytes(store(), "job/a", random_bytes(8, 20)).ok());  // the place is usable again
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{"job/a"});
}

TEST_P(StoreConformance, RefusesKeysThatAreNone) {
  const std::vector<std::byte> bytes = random_bytes(9, 4);
  std::vector<std::byte> into(4);
  for (const std::string& key : std::vector<std::string>{"",
                                                         "/",
                                                         "/a",
                                                         "a/",
                                                         "a//b",
                                                         ".",
                                                         "..",
                                                         "a/../b",
                                                         "a/.",
                                                         "a b",
                                                         "a~",
                                                         "a%2f",
                                                         "a\\b",
                                                         "\xc3\xa9",
                                                         "a\nb",
                                                         "a?b",
                                                         "a#b",
                                                         "a+b",
                                                         std::string("a\0b", 3),
                                                         std::string(256, 'a'),
                                                         std::string(513, 'a')}) {
    EXPECT_EQ(put_bytes(store(), key, bytes).code(), Code::kInvalidArgument) << key;
    EXPECT_EQ(store().size(key).status().code(), Code::kInvalidArgument) << key;
    EXPECT_EQ(store().read(key, 0, into).code(), Code::kInvalidArgument) << key;
    EXPECT_EQ(store().remove(key).code(), Code::kInvalidArgument) << key;
  }
  for (const std::string& prefix : std::vector<std::string>{"a", "/", "//", "a//", "../", "a b/"}) {
    EXPECT_EQ(store().list(prefix).status().code(), Code::kInvalidArgument) << prefix;
  }
}

TEST_P(StoreConformance, TakesEveryKeyThatIsOne) {
  const std::string longest = std::string(255, 'k') + "/" + std::string(254, '.') + "x" + "/" + "y";
  ASSERT_EQ(longest.size(), kLongestKey + 1);
  const std::vector<std::string> keys = {"-", "...", ".hidden/..x",
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ.abcdefghijklmnopqrstuvwxyz_0123456789-",
                                         longest.substr(1)};
  for (const std::string& key : keys) {
    const std::vector<std::byte> bytes = random_bytes(key.size(), 33);
    ASSERT_TRUE(put_bytes(store(), key, bytes).ok()) << key;
    const auto read = read_all(store(), key);
    ASSERT_TRUE(read.ok()) << read.status().message();
    EXPECT_EQ(read.value(), bytes);
  }
  EXPECT_EQ(put_bytes(store(), longest, {}).code(), Code::kInvalidArgument);
}

TEST_P(StoreConformance, AnotherHandleSeesTheSame) {
  const std::vector<std::byte> bytes = random_bytes(10, 1000);
  ASSERT_TRUE(put_bytes(store(), "job/a", bytes).ok());
  const std::unique_ptr<Store> other = place().open();
  const auto read = read_all(*other, "job/a");
  ASSERT_TRUE(read.ok()) << read.status().message();
  EXPECT_EQ(read.value(), bytes);
  EXPECT_OK(other->remove("job/a"));
  EXPECT_EQ(store().size("job/a").status().code(), Code::kNotFound);
  EXPECT_EQ(store().describe(), other->describe());
}

// Readers see one of the objects that were put, never two mixed.
TEST_P(StoreConformance, WritersOfOneKeyDoNotMix) {
  constexpr std::size_t kSize = 200'000;
  constexpr int kWriters = 3;
  constexpr int kPuts = 8;
  ASSERT_TRUE(put_bytes(store(), "shared", std::vector<std::byte>(kSize)).ok());
  std::atomic<int> writing{kWriters};
  std::atomic<int> mixed{0};
  std::vector<std::thread> threads;
  for (int w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      for (int i = 0; i < kPuts; ++i) {
        const std::vector<std::byte> bytes(kSize, static_cast<std::byte>(1 + w + kWriters * i));
        EXPECT_OK(put_bytes(store(), "shared", bytes));
      }
      --writing;
    });
  }
  threads.emplace_back([&] {
    std::vector<std::byte> into(kSize);
    while (writing > 0) {
      EXPECT_OK(store().read("shared", 0, into));
      if (!std::all_of(into.begin(), into.end(), [&](std::byte b) { return b == into[0]; })) ++mixed;
    }
  });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(mixed, 0);
}

// Everybody in one folder that fills, empties and goes away all the time.
TEST_P(StoreConformance, ThreadsDoNotDisturbEachOther) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      const std::string key = "folder/below/" + std::to_string(t);
      for (int i = 0; i < 15; ++i) {
        const std::vector<std::byte> bytes = random_bytes(static_cast<std::uint64_t>(100 * t + i), 2000);
        EXPECT_OK(put_bytes(store(), key, bytes));
        const auto read = read_all(store(), key);
        EXPECT_OK(read);
        EXPECT_TRUE(read.ok() && read.value() == bytes);
        const auto keys = store().list("folder/");
        EXPECT_OK(keys);
        EXPECT_TRUE(keys.ok() && std::count(keys->begin(), keys->end(), key) == 1);
        EXPECT_OK(store().remove(key));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(keys_of(store()), std::vector<std::string>{});
}

// A child puts the same keys over and over and is killed somewhere in the middle.
TEST_P(StoreConformance, NothingHalfIsSeenAfterAKill) {
  constexpr std::size_t kMost = 3'000'000;
  constexpr int kKills = 12;
  for (int kill_number = 0; kill_number < kKills; ++kill_number) {
    std::vector<int> ready(2);
    ASSERT_EQ(::pipe(ready.data()), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const std::unique_ptr<Store> own = place().open();
      for (std::uint64_t i = 0;; ++i) {
        const std::vector<std::byte> bytes =
            self_proving(derive_key(static_cast<std::uint64_t>(kill_number), i), kMost);
        if (i == 1 && ::write(ready[1], "x", 1) != 1) ::_exit(1);
        if (!put_bytes(*own, "job/" + std::to_string(i % 3), bytes).ok()) ::_exit(1);
      }
    }
    char x = 0;
    ASSERT_EQ(::read(ready[0], &x, 1), 1);
    const double part = uniform(7, static_cast<std::uint64_t>(kill_number));
    std::this_thread::sleep_for(std::chrono::microseconds(static_cast<int>(40'000 * part)));
    ::kill(child, SIGKILL);
    int how = 0;
    ASSERT_EQ(::waitpid(child, &how, 0), child);
    EXPECT_TRUE(WIFSIGNALED(how));  // else it failed to put
    ::close(ready[0]);
    ::close(ready[1]);
    const std::vector<std::string> keys = keys_of(store());
    EXPECT_GE(keys.size(), 1U);
    for (const std::string& key : keys) {
      const auto read = read_all(store(), key);
      ASSERT_TRUE(read.ok()) << read.status().message();
      EXPECT_TRUE(proves_itself(read.value(), kMost)) << key << ", " << read->size() << " bytes";
    }
  }
  const std::unique_ptr<Store> after = place().open();
  EXPECT_OK(put_bytes(*after, "job/0", random_bytes(1, 100)));
}

}  // namespace tessera::recovery
