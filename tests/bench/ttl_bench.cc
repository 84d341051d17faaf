/// Balances that lapse: the ring against other ways to keep them; then the ledger, in memory and on disk.
///
/// One account, k = 100: three deposits to one spend, the clock moves 0 to 2 ticks per operation. The ring,
/// the compact store, a ring that divides at each call and a sorted vector follow the same grid and must end
/// with the same balance; the ordered map and the rows keep exact expiries, without a bound. Processor time;
/// rounds alternate and each reports its best, so that other work on the machine favours none.
///
/// Dust: what a victim pays for its first spend after n deposits of one unit.
///
/// Ledger: in memory and on disk. Where hiredis was found, a Redis server on loopback is given one expiring
/// key per account and grid point (INCRBY and EXPIREAT): credits alone, for it has no spending in order of
/// expiry. Start one with: redis-server --port 7379 --save "" --appendonly no
///
///   ttl-bench [--directory D] [--redis-port P]
///                          D: where the ledger's file goes, default the temporary folder; P: default 7379
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <filesystem>
#include <functional>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#ifdef TESSERA_HIREDIS
#include <hiredis.h>
#endif

#include "algos/ttl/balance.h"
#include "algos/ttl/ledger.h"

namespace tessera::ttl {
namespace {

constexpr Ticks kTtl = 100'000;
constexpr std::int64_t kBuckets = 100;

struct Step {
  Ticks now;
  Amount amount;
  bool spend;
};

std::vector<Step> workload(std::size_t count) {
  std::mt19937_64 random(7);
  std::vector<Step> steps(count);
  Ticks now = 0;
  for (std::size_t i = 0; i < count; ++i) {
    now += static_cast<Ticks>(random() % 3);
    steps[i] = {now, 1 + random() % 100, i % 4 == 3};
  }
  return steps;
}

/// A row per deposit time, exact expiry.
class ExactMap {
 public:
  void deposit(Ticks now, Amount amount) {
    settle(now);
    rows_[now + kTtl] += amount;
    total_ += amount;
  }
  void spend(Ticks now, Amount amount) {
    settle(now);
    if (amount > total_) return;
    total_ -= amount;
    while (amount > 0) {
      const auto first = rows_.begin();
      const Amount part = std::min(first->second, amount);
      first->second -= part;
      amount -= part;
      if (first->second == 0) rows_.erase(first);
    }
  }
  [[nodiscard]] std::size_t records() const { return rows_.size(); }
  [[nodiscard]] std::size_t bytes() const { return rows_.size() * 64; }  // node of 48, allocated as 64
  [[nodiscard]] Amount total() const { return total_; }

 private:
  void settle(Ticks now) {
    while (!rows_.empty() && rows_.begin()->first <= now) {
      total_ -= rows_.begin()->second;
      rows_.erase(rows_.begin());
    }
  }
  std::map<Ticks, Amount> rows_;
  Amount total_ = 0;
};

/// A row per deposit in a queue: enough while expiries only come in order, that is without transfers.
class Queue {
 public:
  void deposit(Ticks now, Amount amount) {
    settle(now);
    rows_.emplace_back(now + kTtl, amount);
    total_ += amount;
  }
  void spend(Ticks now, Amount amount) {
    settle(now);
    if (amount > total_) return;
    total_ -= amount;
    while (amount > 0) {
      const Amount part = std::min(rows_.front().second, amount);
      rows_.front().second -= part;
      amount -= part;
      if (rows_.front().second == 0) rows_.pop_front();
    }
  }
  [[nodiscard]] std::size_t records() const { return rows_.size(); }
  [[nodiscard]] std::size_t bytes() const { return rows_.size() * sizeof(rows_[0]); }
  [[nodiscard]] Amount total() const { return total_; }

 private:
  void settle(Ticks now) {
    while (!rows_.empty() && rows_.front().first <= now) {
      total_ -= rows_.front().second;
      rows_.pop_front();
    }
  }
  std::deque<std::pair<Ticks, Amount>> rows_;
  Amount total_ = 0;
};

/// Merged by grid point in a sorted vector.
class SortedVector {
 public:
  void deposit(Ticks now, Amount amount) {
    settle(now);
    const Ticks expiry = policy_.expiry(now);
    const auto at = std::lower_bound(rows_.begin(), rows_.end(), std::pair<Ticks, Amount>(expiry, 0));
    if (at != rows_.end() && at->first == expiry) {
      at->second += amount;
    } else {
      rows_.insert(at, {expiry, amount});
    }
    total_ += amount;
  }
  void spend(Ticks now, Amount amount) {
    settle(now);
    if (amount > total_) return;
    total_ -= amount;
    auto row = rows_.begin();
    while (amount > 0) {
      const Amount part = std::min(row->second, amount);
      row->second -= part;
      amount -= part;
      if (row->second == 0) ++row;
    }
    rows_.erase(rows_.begin(), row);
  }
  [[nodiscard]] std::size_t records() const { return rows_.size(); }
  [[nodiscard]] std::size_t bytes() const { return rows_.size() * sizeof(rows_[0]); }
  [[nodiscard]] Amount total() const { return total_; }

 private:
  void settle(Ticks now) {
    auto live = rows_.begin();
    for (; live != rows_.end() && live->first <= now; ++live) total_ -= live->second;
    rows_.erase(rows_.begin(), live);
  }
  Policy policy_ = Policy::make(kTtl, kBuckets).value();
  std::vector<std::pair<Ticks, Amount>> rows_;
  Amount total_ = 0;
};

/// The ring as one writes it first: bucket numbers by division, at every call.
class PlainRing {
 public:
  void deposit(Ticks now, Amount amount) {
    settle(now);
    amounts_[static_cast<std::size_t>((now + kTtl + width_ - 1) / width_ % slots_)] += amount;
    total_ += amount;
  }
  void spend(Ticks now, Amount amount) {
    settle(now);
    if (amount > total_) return;
    total_ -= amount;
    for (Ticks bucket = first_; amount > 0; ++bucket) {
      Amount& here = amounts_[static_cast<std::size_t>(bucket % slots_)];
      const Amount part = std::min(here, amount);
      here -= part;
      amount -= part;
    }
  }
  [[nodiscard]] std::size_t records() const {
    return static_cast<std::size_t>(
        std::count_if(amounts_.begin(), amounts_.end(), [](Amount a) { return a > 0; }));
  }
  [[nodiscard]] std::size_t bytes() const { return amounts_.size() * sizeof(Amount); }
  [[nodiscard]] Amount total() const { return total_; }

 private:
  void settle(Ticks now) {
    const Ticks first = now / width_ + 1;
    for (Ticks bucket = first_; bucket < std::min(first, first_ + slots_); ++bucket) {
      Amount& here = amounts_[static_cast<std::size_t>(bucket % slots_)];
      total_ -= here;
      here = 0;
    }
    first_ = first;
  }
  Ticks width_ = (kTtl + kBuckets - 1) / kBuckets;
  Ticks slots_ = kBuckets + 1;
  std::vector<Amount> amounts_ = std::vector<Amount>(static_cast<std::size_t>(slots_));
  Ticks first_ = 1;
  Amount total_ = 0;
};

template <class Balance>
class Ours {
 public:
  void deposit(Ticks now, Amount amount) { done_ &= balance_.deposit(now, amount) == Outcome::kDone; }
  void spend(Ticks now, Amount amount) { (void)balance_.spend(now, amount); }
  [[nodiscard]] std::size_t records() const { return balance_.records(0); }
  [[nodiscard]] std::size_t bytes() const { return sizeof(balance_) + policy_.slots() * sizeof(Amount); }
  [[nodiscard]] Amount total() const { return done_ ? balance_.balance(0) : 0; }

 private:
  Policy policy_ = Policy::make(kTtl, kBuckets).value();
  Balance balance_{policy_, 0};
  bool done_ = true;
};

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// Of this thread on a processor: what other programs take does not count.
double cpu_seconds_of(const std::function<void()>& work) {
  const auto now = [] {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
  };
  const double start = now();
  work();
  return now() - start;
}

struct Row {
  std::string name;
  double ns = std::numeric_limits<double>::max();
  std::size_t records = 0;
  std::size_t bytes = 0;
  Amount total = 0;
};

template <class Account>
void measure(Row& row, const std::vector<Step>& steps) {
  Account account;
  const double s = cpu_seconds_of([&] {
    for (const Step& step : steps) {
      if (step.spend) {
        account.spend(step.now, step.amount);
      } else {
        account.deposit(step.now, step.amount);
      }
    }
  });
  row.ns = std::min(row.ns, s * 1e9 / static_cast<double>(steps.size()));
  row.records = account.records();
  row.bytes = account.bytes();
  row.total = account.total();
}

void one_account() {
  const std::vector<Step> steps = workload(1'000'000);
  std::vector<Row> rows = {{"ring"},          {"compact store"}, {"ring, dividing"},
                           {"sorted vector"}, {"ordered map"},   {"queue of rows"}};
  for (int round = 0; round < 7; ++round) {
    measure<Ours<RingBalance>>(rows[0], steps);
    measure<Ours<CompactBalance>>(rows[1], steps);
    measure<PlainRing>(rows[2], steps);
    measure<SortedVector>(rows[3], steps);
    measure<ExactMap>(rows[4], steps);
    measure<Queue>(rows[5], steps);
  }
  for (std::size_t i = 1; i < 4; ++i) {
    if (rows[i].total != rows[0].total)
      fmt::print("{} ends with {}, the ring with {}\n", rows[i].name, rows[i].total, rows[0].total);
  }
  fmt::print("one account, k = {}\n{:<16} {:>8} {:>10} {:>10} {:>10}\n", kBuckets, "", "ns/op", "/ ring",
             "records", "bytes");
  for (const Row& row : rows) {
    fmt::print("{:<16} {:>8.1f} {:>10.2f} {:>10} {:>10}\n", row.name, row.ns, row.ns / rows[0].ns,
               row.records, row.bytes);
  }
}

/// Rows by expiry where anyone may send: kept in order, one row each.
void dust() {
  fmt::print("\nfirst spend of everything after n dust transfers, microseconds\n{:>10} {:>10} {:>16}\n", "n",
             "ring", "a row each");
  const Policy policy = Policy::make(10'000'000, kBuckets).value();
  for (const Ticks n : {1000, 10'000, 100'000, 1'000'000}) {
    RingBalance victim(policy, 0);
    std::multimap<Ticks, Amount> rows;
    for (Ticks t = 0; t < n; ++t) {
      (void)victim.deposit(t, 1);
      rows.emplace(t + policy.ttl(), 1);
    }
    const double ring = cpu_seconds_of([&] { (void)victim.spend(n, static_cast<Amount>(n)); });
    const double each = cpu_seconds_of([&] {
      for (Amount left = static_cast<Amount>(n); left > 0; --left) rows.erase(rows.begin());
    });
    fmt::print("{:>10} {:>10.2f} {:>16.2f}\n", n, ring * 1e6, each * 1e6);
  }
}

/// Operations per second of `threads` threads, each with accounts of its own.
double rate(Ledger& ledger, int threads, int each) {
  const double s = seconds_of([&] {
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        for (int i = 0; i < each; ++i) {
          const AccountId account{static_cast<std::uint64_t>(t) * 1000 +
                                  static_cast<std::uint64_t>(i % 1000)};
          const Status status = i % 4 == 3 ? ledger.spend(account, i, 1) : ledger.credit(account, i, 5);
          if (!status.ok() && status.code() != Code::kFailedPrecondition) std::abort();
        }
      });
    }
    for (std::thread& worker : workers) worker.join();
  });
  return threads * each / s;
}

void ledgers(const std::string& directory) {
  const Policy policy = Policy::make(kTtl, kBuckets).value();
  fmt::print("\nledger, operations per second\n{:<28} {:>12} {:>12}\n", "", "1 thread", "8 threads");
  const auto line = [&](const std::string& name, const std::function<std::unique_ptr<Ledger>()>& make,
                        int each) {
    const double one = rate(*make(), 1, each);
    const double eight = rate(*make(), 8, each / 4);
    fmt::print("{:<28} {:>12.0f} {:>12.0f}\n", name, one, eight);
  };
  const std::string path = directory + "/ttl_bench.ledger";
  const auto on_disk = [&](bool sync_each) {
    std::filesystem::remove(path);
    auto ledger = Ledger::open(path, policy, {.sync_each = sync_each});
    if (!ledger.ok()) {
      fmt::print("error: {}\n", ledger.status().message());
      std::exit(1);
    }
    return std::move(ledger).value();
  };
  line(
      "in memory", [&] { return Ledger::in_memory(policy); }, 1'000'000);
  line(
      "on disk, sync_each off", [&] { return on_disk(false); }, 400'000);
  line(
      "on disk, each acknowledged", [&] { return on_disk(true); }, 800);
  std::filesystem::remove(path);
  std::filesystem::remove(path + ".lock");
}

#ifdef TESSERA_HIREDIS
/// Credits per second; `batch` of them are sent before the first answer is read.
double redis_rate(redisContext* redis, int credits, int batch) {
  const long long year = 4'000'000'000;  // nothing lapses meanwhile: only the cost of saying so is measured
  return credits / seconds_of([&] {
           for (int sent = 0; sent < credits; sent += batch) {
             for (int i = 0; i < batch; ++i) {
               const int n = sent + i;
               redisAppendCommand(redis, "INCRBY q:%d:%d 5", n % 1000, n / 1000 % 101);
               redisAppendCommand(redis, "EXPIREAT q:%d:%d %lld", n % 1000, n / 1000 % 101, year);
             }
             for (int i = 0; i < 2 * batch; ++i) {
               void* reply = nullptr;
               if (redisGetReply(redis, &reply) != REDIS_OK) std::abort();
               freeReplyObject(reply);
             }
           }
         });
}

void redis(int port) {
  const std::unique_ptr<redisContext, void (*)(redisContext*)> redis(redisConnect("127.0.0.1", port),
                                                                     redisFree);
  if (!redis || redis->err != 0) {
    fmt::print("Redis: no server at port {}\n", port);
    return;
  }
  fmt::print("{:<28} {:>12.0f}\n", "Redis, one by one", redis_rate(redis.get(), 20'000, 1));
  fmt::print("{:<28} {:>12.0f}\n", "Redis, 100 at a time", redis_rate(redis.get(), 200'000, 100));
}
#endif

}  // namespace
}  // namespace tessera::ttl

int main(int argc, char** argv) {
  std::string directory = std::filesystem::temp_directory_path().string();
  [[maybe_unused]] int redis_port = 7379;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (std::string_view(argv[i]) == "--directory") directory = argv[i + 1];
    if (std::string_view(argv[i]) == "--redis-port") redis_port = std::atoi(argv[i + 1]);
  }
  tessera::ttl::one_account();
  tessera::ttl::dust();
  tessera::ttl::ledgers(directory);
#ifdef TESSERA_HIREDIS
  tessera::ttl::redis(redis_port);
#endif
}
