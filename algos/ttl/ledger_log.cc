#include "algos/ttl/ledger_log.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>
#include <xxhash.h>

#include <fmt/format.h>

namespace tessera::ttl {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie in memory");

constexpr std::string_view kMagic = "TSRTTL1\n";
constexpr std::uint32_t kFrameMagic = 0x4d415246;  // "FRAM"
constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kChecksummedHead = 24;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

void put_wide(std::string& out, WideAmount value) {
  put(out, static_cast<std::uint64_t>(value));
  put(out, static_cast<std::uint64_t>(value >> 64));
}

/// Reads numbers front to back; ok() turns false, and zeros come out, once they do not fit any more.
class Cursor {
 public:
  explicit Cursor(std::span<const std::byte> bytes) : bytes_(bytes) {}
  template <class T>
  T get() {
    T value{};
    if (bytes_.size() < sizeof(T)) {
      ok_ = false;
      bytes_ = {};
      return value;
    }
    std::memcpy(&value, bytes_.data(), sizeof(T));
    bytes_ = bytes_.subspan(sizeof(T));
    return value;
  }
  WideAmount get_wide() {
    const auto low = get<std::uint64_t>();
    return static_cast<WideAmount>(get<std::uint64_t>()) << 64 | low;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::size_t left() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
  bool ok_ = true;
};

std::uint64_t frame_checksum(const void* head, const void* payload, std::size_t bytes) {
  return XXH3_64bits_withSeed(payload, bytes, XXH3_64bits(head, kChecksummedHead));
}

struct Frame {
  std::uint32_t type;
  std::uint64_t sequence;
  std::span<const std::byte> payload;
};

/// The frame at `offset`, if there is a whole one with the right checksum.
std::optional<Frame> frame_at(std::span<const std::byte> file, std::uint64_t offset) {
  const std::span<const std::byte> rest = file.subspan(offset);
  if (rest.size() < kFrameHeadBytes) return std::nullopt;
  Cursor head(rest);
  if (head.get<std::uint32_t>() != kFrameMagic) return std::nullopt;
  Frame found{};
  found.type = head.get<std::uint32_t>();
  found.sequence = head.get<std::uint64_t>();
  const auto bytes = head.get<std::uint64_t>();
  const auto checksum = head.get<std::uint64_t>();
  if (bytes > rest.size() - kFrameHeadBytes || frame_bytes(bytes) > rest.size()) return std::nullopt;
  found.payload = rest.subspan(kFrameHeadBytes, bytes);
  if (frame_checksum(rest.data(), found.payload.data(), bytes) != checksum) return std::nullopt;
  return found;
}

/// Builds the state frame by frame.
class Recovery {
 public:
  Recovery(std::span<const std::byte> file, const std::string& path, Ticks max_step)
      : file_(file), path_(path), max_step_(max_step) {}

  Result<Recovered> run() {
    TS_TRY(read_header());
    offset_ = kHeaderBytes;
    while (true) {
      const std::optional<Frame> next = frame_at(file_, offset_);
      if (!next) break;
      if (next->sequence != result_.next_sequence) return damaged("a frame out of sequence");
      TS_TRY(read(*next));
      ++result_.next_sequence;
      offset_ += frame_bytes(next->payload.size());
      if (next->type == static_cast<std::uint32_t>(FrameType::kReady)) result_.snapshot_bytes = offset_;
    }
    if (!ready_) return damaged("an incomplete snapshot");
    TS_TRY(check_tail());
    result_.bytes = offset_;
    return std::move(result_);
  }

 private:
  Status damaged(const std::string& found) const {
    return bad_input({path_, fmt::format("byte {}", offset_), found, "a ledger as it was written",
                      "restore the file from a copy; its operations from this byte on are lost"},
                     Code::kDataLoss);
  }

  Status read_header() {
    Cursor header(file_);
    const auto magic = header.get<std::uint64_t>();
    const auto ttl = header.get<Ticks>();
    const auto buckets = header.get<std::int64_t>();
    const auto checksum = header.get<std::uint64_t>();
    if (!header.ok() || std::memcmp(&magic, kMagic.data(), kMagic.size()) != 0)
      return damaged("no ledger file");
    if (checksum != XXH3_64bits(file_.data(), kChecksummedHead)) return damaged("a damaged header");
    const Result<Policy> policy = Policy::make(ttl, buckets, max_step_);
    if (!policy.ok()) return damaged("a policy out of range");
    policy_ = policy.value();
    return {};
  }

  Status read(const Frame& frame) {
    const auto type = static_cast<FrameType>(frame.type);
    Cursor payload(frame.payload);
    if (type == FrameType::kBegin && result_.accounts == nullptr) return read_begin(payload);
    if (type == FrameType::kAccounts && result_.accounts != nullptr && !ready_) return read_accounts(payload);
    if (type == FrameType::kReady && result_.accounts != nullptr && !ready_) return read_ready(payload);
    if (type == FrameType::kOperations && ready_) return read_operations(payload);
    return damaged(fmt::format("a frame of type {} in the wrong place", frame.type));
  }

  Status read_begin(Cursor& payload) {
    const auto clock = payload.get<Ticks>();
    past_.credited = payload.get_wide();
    past_.spent = payload.get_wide();
    past_.expired = payload.get_wide();
    past_.live = payload.get_wide();
    if (!payload.ok() || payload.left() != 0 || clock < 0) return damaged("a malformed beginning");
    constexpr WideAmount kMost = ~WideAmount{0} >> 2;  // sums of two do not wrap
    if (past_.credited > kMost || past_.spent > past_.credited ||
        past_.expired > past_.credited - past_.spent ||
        past_.live != past_.credited - past_.spent - past_.expired) {
      return damaged("totals that do not add up");
    }
    result_.accounts = std::make_unique<Accounts>(*policy_, clock);
    result_.accounts->restore_totals(past_);
    return {};
  }

  Status read_accounts(Cursor& payload) {
    std::vector<NextExpiry> records;
    while (payload.left() > 0) {
      const auto id = payload.get<std::uint64_t>();
      const auto count = payload.get<std::uint64_t>();
      if (!payload.ok() || count > payload.left() / sizeof(NextExpiry)) return damaged("a malformed account");
      records.clear();
      for (std::uint64_t i = 0; i < count; ++i) {
        const auto at = payload.get<Ticks>();
        records.push_back({at, payload.get<Amount>()});
      }
      if (!result_.accounts->restore_account(AccountId{id}, records)) {
        return damaged(fmt::format("account {} with records that cannot be", id));
      }
    }
    return {};
  }

  Status read_ready(Cursor& payload) {
    const auto count = payload.get<std::uint64_t>();
    if (!payload.ok() || payload.left() != 0 || count != result_.accounts->size() ||
        result_.accounts->totals() != past_) {
      return damaged("a snapshot that does not add up");
    }
    ready_ = true;
    return {};
  }

  Status read_operations(Cursor& payload) {
    while (payload.left() > 0) {
      Operation operation{};
      operation.kind = static_cast<Operation::Kind>(payload.get<std::uint8_t>());
      operation.now = payload.get<Ticks>();
      if (operation.kind < Operation::Kind::kCredit || operation.kind > Operation::Kind::kResume) {
        return damaged("an operation of no known kind");
      }
      if (operation.kind != Operation::Kind::kResume) {
        operation.account = AccountId{payload.get<std::uint64_t>()};
        if (operation.kind == Operation::Kind::kTransfer)
          operation.to = AccountId{payload.get<std::uint64_t>()};
        operation.amount = payload.get<Amount>();
      }
      if (!payload.ok()) return damaged("a malformed operation");
      // The step limit guarded the operation when it was accepted; it may have been another one then.
      if (operation.now < result_.accounts->clock()) return damaged("a clock that runs back");
      const Operation gap{.kind = Operation::Kind::kResume, .now = operation.now};
      if (result_.accounts->apply(gap) != Outcome::kDone ||
          result_.accounts->apply(operation) != Outcome::kDone) {
        return damaged("an operation that cannot have been accepted");
      }
      ++result_.operations;
    }
    return {};
  }

  /// What follows the last good frame is zeros, or one torn frame and zeros.
  Status check_tail() {
    const std::span<const std::byte> tail = file_.subspan(offset_);
    const auto last = std::find_if(tail.rbegin(), tail.rend(), [](std::byte b) { return b != std::byte{0}; });
    result_.torn_bytes = static_cast<std::uint64_t>(tail.rend() - last);
    for (std::uint64_t later = 8; later < result_.torn_bytes; later += 8) {
      const std::optional<Frame> frame = frame_at(file_, offset_ + later);
      if (frame && frame->sequence > result_.next_sequence)
        return damaged("a damaged frame before a good one");
    }
    return {};
  }

  std::span<const std::byte> file_;
  const std::string& path_;
  Ticks max_step_;
  std::optional<Policy> policy_;
  Recovered result_;
  Totals past_;
  std::uint64_t offset_ = 0;
  bool ready_ = false;
};

}  // namespace

std::string file_header(const Policy& policy) {
  std::string out(kMagic);
  put(out, policy.ttl());
  put(out, policy.buckets());
  put(out, XXH3_64bits(out.data(), kChecksummedHead));
  return out;
}

std::string frame(FrameType type, std::uint64_t sequence, std::string_view payload) {
  std::string out;
  out.reserve(frame_bytes(payload.size()));
  put(out, kFrameMagic);
  put(out, static_cast<std::uint32_t>(type));
  put(out, sequence);
  put(out, static_cast<std::uint64_t>(payload.size()));
  put(out, frame_checksum(out.data(), payload.data(), payload.size()));
  out += payload;
  out.resize(frame_bytes(payload.size()), '\0');
  return out;
}

void append_operation(std::string& payload, const Operation& operation) {
  put(payload, static_cast<std::uint8_t>(operation.kind));
  put(payload, operation.now);
  if (operation.kind == Operation::Kind::kResume) return;
  put(payload, static_cast<std::uint64_t>(operation.account));
  if (operation.kind == Operation::Kind::kTransfer) put(payload, static_cast<std::uint64_t>(operation.to));
  put(payload, operation.amount);
}

Result<std::uint64_t> write_snapshot(Accounts& accounts,
                                     const std::function<Status(std::string_view)>& write) {
  std::uint64_t sequence = 0;
  std::string payload;
  const auto write_frame = [&](FrameType type) -> Status {
    Status status = write(frame(type, sequence++, payload));
    payload.clear();
    return status;
  };
  TS_TRY(write(file_header(accounts.policy())));
  accounts.compact();
  const Totals totals = accounts.totals();
  put(payload, accounts.clock());
  for (const WideAmount total : {totals.credited, totals.spent, totals.expired, totals.live}) {
    put_wide(payload, total);
  }
  TS_TRY(write_frame(FrameType::kBegin));

  Status status;
  accounts.for_each([&](AccountId id, const CompactBalance& balance) {
    if (!status.ok()) return;
    put(payload, static_cast<std::uint64_t>(id));
    put(payload, static_cast<std::uint64_t>(balance.records(accounts.clock())));
    balance.for_each_record(accounts.clock(), [&](Ticks expiry, Amount amount) {
      put(payload, expiry);
      put(payload, amount);
    });
    if (payload.size() >= kPiece) status = write_frame(FrameType::kAccounts);
  });
  TS_TRY(status);
  if (!payload.empty()) TS_TRY(write_frame(FrameType::kAccounts));
  put(payload, static_cast<std::uint64_t>(accounts.size()));
  TS_TRY(write_frame(FrameType::kReady));
  return sequence;
}

Result<Recovered> recover(std::span<const std::byte> file, const std::string& path, Ticks max_step) {
  return Recovery(file, path, max_step).run();
}

}  // namespace tessera::ttl
