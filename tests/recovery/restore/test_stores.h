/// Stores for tests: one in the process's memory, one that fails on purpose, one with the speed of a device.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "algos/base/random.h"
#include "recovery/store/store.h"

namespace tessera::recovery {

class RamStore final : public Store {
 public:
  explicit RamStore(std::string name = "ram") : name_(std::move(name)) {}

  [[nodiscard]] std::string describe() const override { return name_; }
  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override {
    std::vector<std::byte> object;
    for (const Bytes& piece : pieces) object.insert(object.end(), piece.begin(), piece.end());
    const std::lock_guard lock(mutex_);
    objects_[key] = std::move(object);
    return {};
  }
  [[nodiscard]] Result<std::int64_t> size(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    const auto object = objects_.find(key);
    if (object == objects_.end()) return Status(Code::kNotFound, key);
    return static_cast<std::int64_t>(object->second.size());
  }
  [[nodiscard]] Status read(const std::string& key, std::int64_t offset, std::span<std::byte> into) override {
    const std::lock_guard lock(mutex_);
    const auto object = objects_.find(key);
    if (object == objects_.end()) return {Code::kNotFound, key};
    const auto begin = static_cast<std::size_t>(offset);
    if (begin + into.size() > object->second.size()) return {Code::kDataLoss, key + " ends before"};
    std::copy_n(object->second.begin() + offset, into.size(), into.begin());
    return {};
  }
  [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> keys;
    for (const auto& [key, object] : objects_) {
      if (key.starts_with(prefix)) keys.push_back(key);
    }
    return keys;
  }
  [[nodiscard]] Status remove(const std::string& key) override {
    const std::lock_guard lock(mutex_);
    objects_.erase(key);
    return {};
  }

  // ---- for the test, while no one else uses the store
  std::map<std::string, std::vector<std::byte>>& objects() { return objects_; }

 private:
  std::string name_;
  std::mutex mutex_;
  std::map<std::string, std::vector<std::byte>> objects_;
};

/// What fails, how often and how many times. After 3FS's FaultInjection.
struct Faults {
  enum Scope : std::uint8_t { kPut = 1, kRead = 2, kList = 4, kAll = 7 };
  std::uint8_t scope = kAll;
  double probability = 1;
  int count = 1 << 30;  // so many, then none
  int after = 0;        // so many calls in scope go well first
  Code code = Code::kUnavailable;
  bool wrong_bytes = false;  // a read that succeeds with a bit flipped
  std::uint64_t seed = 0;
};

class FaultyStore final : public Store {
 public:
  FaultyStore(Store& inner, Faults faults) : inner_(inner), faults_(faults) {}

  [[nodiscard]] std::string describe() const override { return "faulty " + inner_.describe(); }
  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override {
    return strikes(Faults::kPut) ? fault(key) : inner_.put(key, pieces);
  }
  [[nodiscard]] Result<std::int64_t> size(const std::string& key) override { return inner_.size(key); }
  [[nodiscard]] Status read(const std::string& key, std::int64_t offset, std::span<std::byte> into) override {
    if (!strikes(Faults::kRead)) return inner_.read(key, offset, into);
    if (!faults_.wrong_bytes) return fault(key);
    const Status status = inner_.read(key, offset, into);
    if (!into.empty()) into[into.size() / 2] ^= std::byte{4};
    return status;
  }
  [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override {
    if (strikes(Faults::kList)) return fault(std::string(prefix));
    return inner_.list(prefix);
  }
  [[nodiscard]] Status remove(const std::string& key) override { return inner_.remove(key); }

 private:
  bool strikes(Faults::Scope scope) {
    if ((faults_.scope & scope) == 0) return false;
    const int call = calls_++;
    if (call < faults_.after) return false;
    if (uniform(faults_.seed, static_cast<std::uint64_t>(call)) >= faults_.probability) return false;
    return struck_++ < faults_.count;
  }
  [[nodiscard]] Status fault(const std::string& key) const { return {faults_.code, "a fault at " + key}; }

  Store& inner_;
  Faults faults_;
  std::atomic<int> calls_ = 0;
  std::atomic<int> struck_ = 0;
};

/// Bytes per second shared by all who draw from it: each draw ends when its bytes have passed, one after the
/// other, as on a link.
class Link {
 public:
  explicit Link(double bytes_per_s) : bytes_per_s_(bytes_per_s) {}
  void pass(std::size_t bytes) {
    using Clock = std::chrono::steady_clock;
    Clock::time_point until;
    {
      const std::lock_guard lock(mutex_);
      const auto time = std::chrono::duration<double>(static_cast<double>(bytes) / bytes_per_s_);
      free_ = std::max(free_, Clock::now()) + std::chrono::duration_cast<Clock::duration>(time);
      until = free_;
    }
    std::this_thread::sleep_until(until);
  }

 private:
  double bytes_per_s_;
  std::mutex mutex_;
  std::chrono::steady_clock::time_point free_;
};

/// Reads take the time of their bytes on the links.
class ShapedStore final : public Store {
 public:
  ShapedStore(Store& inner, std::vector<Link*> links) : inner_(inner), links_(std::move(links)) {}
  [[nodiscard]] std::string describe() const override { return inner_.describe(); }
  [[nodiscard]] Status put(const std::string& key, std::span<const Bytes> pieces) override {
    return inner_.put(key, pieces);
  }
  [[nodiscard]] Result<std::int64_t> size(const std::string& key) override { return inner_.size(key); }
  [[nodiscard]] Status read(const std::string& key, std::int64_t offset, std::span<std::byte> into) override {
    for (Link* const link : links_) link->pass(into.size());
    return inner_.read(key, offset, into);
  }
  [[nodiscard]] Result<std::vector<std::string>> list(std::string_view prefix) override {
    return inner_.list(prefix);
  }
  [[nodiscard]] Status remove(const std::string& key) override { return inner_.remove(key); }

 private:
  Store& inner_;
  std::vector<Link*> links_;
};

}  // namespace tessera::recovery
