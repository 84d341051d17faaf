#include "algos/tools/ttl_command.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "algos/base/mapped_file.h"
#include "algos/tools/bytes_input.h"
#include "algos/ttl/ledger.h"
#include "algos/ttl/ledger_log.h"
#include "algos/ttl/operation_lines.h"

namespace tessera::tools {
namespace {

using nlohmann::ordered_json;

struct ReplayOptions {
  BytesInput input;
  ttl::Ticks ttl = 0;
  std::int64_t buckets = 100;
  ttl::Ticks max_step = ttl::kNoStepLimit;
  ttl::Ticks start = 0;
  std::string ledger;  // empty: in memory
  bool summary = false;
  bool json = false;
};

struct ShowOptions {
  std::string file;
  bool json = false;
};

/// One account of a report.
struct AccountReport {
  std::string name;
  ttl::Amount balance = 0;
  std::uint32_t records = 0;
  std::optional<ttl::NextExpiry> next;
};

/// A number where JSON readers can hold it, else its digits.
ordered_json wide_json(ttl::WideAmount value) {
  const auto narrow = static_cast<std::uint64_t>(value);
  if (value == narrow) return narrow;
  return fmt::format("{}", value);
}

ordered_json report_json(const ttl::Policy& policy, ttl::Ticks clock, const ttl::Totals& totals,
                         const std::vector<AccountReport>& accounts) {
  ordered_json answer;
  answer["policy"] = {{"ttl", policy.ttl()}, {"buckets", policy.buckets()}};
  if (!policy.permanent()) answer["policy"]["width"] = policy.width();
  answer["policy"]["max_records"] = policy.slots();
  answer["clock"] = clock;
  answer["totals"] = {{"credited", wide_json(totals.credited)},
                      {"spent", wide_json(totals.spent)},
                      {"expired", wide_json(totals.expired)},
                      {"live", wide_json(totals.live)}};
  answer["accounts"] = ordered_json::array();
  for (const AccountReport& account : accounts) {
    ordered_json entry = {
        {"account", account.name}, {"balance", account.balance}, {"records", account.records}};
    if (account.next) entry["next_expiry"] = {{"at", account.next->at}, {"amount", account.next->amount}};
    answer["accounts"].push_back(std::move(entry));
  }
  return answer;
}

void print_report(const ttl::Policy& policy, ttl::Ticks clock, const ttl::Totals& totals,
                  const std::vector<AccountReport>& accounts) {
  if (policy.permanent()) {
    fmt::print("policy         permanent\n");
  } else {
    fmt::print("policy         ttl {}, {} buckets, grid of {}, at most {} records an account\n", policy.ttl(),
               policy.buckets(), policy.width(), policy.slots());
  }
  fmt::print(
      "clock          {}\ncredited       {}\nspent          {}\nexpired        {}\nlive           {}\n",
      clock, totals.credited, totals.spent, totals.expired, totals.live);
  fmt::print("{:<20} {:>20} {:>8}  next expiry\n", "account", "balance", "records");
  for (const AccountReport& account : accounts) {
    fmt::print("{:<20} {:>20} {:>8}  {}\n", account.name, account.balance, account.records,
               account.next ? fmt::format("{} at {}", account.next->amount, account.next->at) : "-");
  }
}

/// Names to account numbers: in memory in order of appearance, in a ledger file as they are.
class Names {
 public:
  explicit Names(bool numbers) : numbers_(numbers) {}

  Result<ttl::AccountId> id(const std::string& name, const std::string& file, std::size_t line) {
    if (const auto found = ids_.find(name); found != ids_.end()) return found->second;
    std::uint64_t number = ids_.size();
    if (numbers_) {
      const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
      if (error != std::errc() || end != name.data() + name.size() || std::to_string(number) != name) {
        return bad_input({file, fmt::format("line {}", line), "account \"" + printable(name) + "\"",
                          "a number from 0 to 2^64 - 1, with --ledger", "number the accounts"});
      }
    }
    ids_.emplace(name, ttl::AccountId{number});
    return ttl::AccountId{number};
  }

  static std::string printable(const std::string& name) {
    return escaped(reinterpret_cast<const std::uint8_t*>(name.data()), name.size(), 0);
  }

  [[nodiscard]] std::vector<AccountReport> report(const ttl::Ledger& ledger) const {
    std::vector<AccountReport> accounts;
    const ttl::Ticks now = ledger.clock();
    for (const auto& [name, id] : ids_) {
      accounts.push_back(
          {printable(name), ledger.balance(id, now), ledger.records(id, now), ledger.next_expiry(id, now)});
    }
    return accounts;
  }

 private:
  bool numbers_;
  std::map<std::string, ttl::AccountId> ids_;
};

Result<std::vector<ttl::Operation>> operations_of(const std::vector<ttl::OperationLine>& lines, Names& names,
                                                  const std::string& file) {
  std::vector<ttl::Operation> operations;
  for (const ttl::OperationLine& line : lines) {
    ttl::Operation operation{ttl::Operation::Kind::kResume, line.now, {}, {}, line.amount};
    if (!line.account.empty()) operation.account = TS_TRY(names.id(line.account, file, line.line));
    if (!line.to.empty()) operation.to = TS_TRY(names.id(line.to, file, line.line));
    switch (line.kind) {
      case ttl::OperationLine::Kind::kCredit: operation.kind = ttl::Operation::Kind::kCredit; break;
      case ttl::OperationLine::Kind::kSpend: operation.kind = ttl::Operation::Kind::kSpend; break;
      case ttl::OperationLine::Kind::kTransfer: operation.kind = ttl::Operation::Kind::kTransfer; break;
      case ttl::OperationLine::Kind::kBalance:
      case ttl::OperationLine::Kind::kResume: break;
    }
    operations.push_back(operation);
  }
  return operations;
}

Status replay(const ReplayOptions& options) {
  const ttl::Policy policy = TS_TRY(ttl::Policy::make(options.ttl, options.buckets, options.max_step));
  if (options.start < 0) {
    return bad_input(
        {"", "start", std::to_string(options.start), "ticks that count from 0", "shift the clock's start"});
  }
  const std::vector<std::uint8_t> bytes = TS_TRY(read_input(options.input));
  const std::string file = options.input.text ? "--text" : options.input.file;
  const std::vector<ttl::OperationLine> lines =
      TS_TRY(ttl::parse_operation_lines({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file));
  Names names(!options.ledger.empty());
  const std::vector<ttl::Operation> operations = TS_TRY(operations_of(lines, names, file));
  std::unique_ptr<ttl::Ledger> ledger = ttl::Ledger::in_memory(policy, options.start);
  if (!options.ledger.empty()) {
    ledger = TS_TRY(ttl::Ledger::open(options.ledger, policy, {.start = options.start, .sync_each = false}));
  }

  std::size_t done = 0;
  std::size_t refused = 0;
  ordered_json trace = ordered_json::array();
  const bool traced = !options.summary;
  if (traced && !options.json) fmt::print("{:<40} {:<22} balance\n", "operation", "outcome");
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const ttl::OperationLine& line = lines[i];
    ttl::Outcome outcome = ttl::Outcome::kDone;
    if (line.kind != ttl::OperationLine::Kind::kBalance) outcome = TS_TRY(ledger->apply(operations[i]));
    ++(outcome == ttl::Outcome::kDone ? done : refused);
    if (!traced) continue;
    const bool has_account = !line.account.empty();
    const ttl::Amount balance = has_account ? ledger->balance(operations[i].account, line.now) : 0;
    if (options.json) {
      ordered_json entry = {{"line", line.line},
                            {"operation", Names::printable(ttl::to_line(line))},
                            {"outcome", ttl::outcome_name(outcome)}};
      if (has_account) entry["balance"] = balance;
      trace.push_back(std::move(entry));
    } else {
      fmt::print("{:<40} {:<22} {}\n", Names::printable(ttl::to_line(line)), ttl::outcome_name(outcome),
                 has_account ? std::to_string(balance) : "-");
    }
  }
  TS_TRY(ledger->sync());
  const std::vector<AccountReport> accounts = names.report(*ledger);
  if (options.json) {
    ordered_json answer = report_json(policy, ledger->clock(), ledger->totals(), accounts);
    answer["done"] = done;
    answer["refused"] = refused;
    if (traced) answer["operations"] = std::move(trace);
    fmt::print("{}\n", answer.dump(2));
    return {};
  }
  fmt::print("{}operations     {} done, {} refused\n", traced ? "\n" : "", done, refused);
  print_report(policy, ledger->clock(), ledger->totals(), accounts);
  return {};
}

Status show(const ShowOptions& options) {
  const MappedFile file =
      TS_TRY(MappedFile::open(options.file, "a ledger file", "name one that replay --ledger made"));
  ttl::Recovered recovered = TS_TRY(ttl::recover(file.bytes(), options.file));
  ttl::Accounts& state = *recovered.accounts;
  state.compact();
  const ttl::Totals totals = state.totals();
  std::vector<std::uint64_t> ids;
  state.for_each(
      [&](ttl::AccountId id, const ttl::CompactBalance&) { ids.push_back(static_cast<std::uint64_t>(id)); });
  std::sort(ids.begin(), ids.end());
  std::vector<AccountReport> accounts;
  for (const std::uint64_t id : ids) {
    const ttl::AccountId account{id};
    accounts.push_back({std::to_string(id), state.balance(account, 0), state.records(account, 0),
                        state.next_expiry(account, 0)});
  }
  if (options.json) {
    ordered_json answer = report_json(state.policy(), state.clock(), totals, accounts);
    answer["file"] = {{"bytes", recovered.bytes},
                      {"snapshot_bytes", recovered.snapshot_bytes},
                      {"logged_operations", recovered.operations},
                      {"torn_bytes", recovered.torn_bytes}};
    fmt::print("{}\n", answer.dump(2));
    return {};
  }
  fmt::print(
      "file           {} bytes, of which snapshot {}; {} operations logged since; {} bytes of a torn write\n",
      recovered.bytes, recovered.snapshot_bytes, recovered.operations, recovered.torn_bytes);
  print_report(state.policy(), state.clock(), totals, accounts);
  return {};
}

}  // namespace

Command add_ttl_command(CLI::App& program) {
  CLI::App* app =
      program.add_subcommand("ttl", "balances that lapse: replay operations, look into a ledger file");
  app->require_subcommand(1);

  CLI::App* replay_app = app->add_subcommand("replay", "apply lines of operations and report every outcome");
  auto replay_options = std::make_shared<ReplayOptions>();
  declare_input(*replay_app, replay_options->input);
  replay_app->add_option("--ttl", replay_options->ttl, "ticks an amount lives at least; 0: permanent")
      ->required()
      ->type_name("TICKS");
  replay_app->add_option("--buckets", replay_options->buckets, "k: an account keeps at most k + 1 records")
      ->capture_default_str()
      ->type_name("K");
  replay_app
      ->add_option("--max-step", replay_options->max_step, "refuse a clock that jumps further; default: none")
      ->type_name("TICKS");
  replay_app->add_option("--start", replay_options->start, "first reading of the clock")
      ->capture_default_str()
      ->type_name("TICKS");
  replay_app
      ->add_option("--ledger", replay_options->ledger,
                   "apply to this ledger file, made if absent; numbered accounts")
      ->type_name("FILE");
  replay_app->add_flag("--summary", replay_options->summary, "leave out the single operations");
  replay_app->add_flag("--json", replay_options->json, "print one JSON object");
  replay_app->footer(
      "Lines: <now> credit|spend <account> <amount>, <now> transfer <from> <to> <amount>, <now> balance "
      "<account>,\n"
      "<now> resume (passes a gap longer than --max-step), # comment. A refused operation is an answer, not "
      "an error.\n\n"
      "  tessera-algos ttl replay operations.txt --ttl 3600\n"
      "  printf '0 credit a 5\\n9 balance a\\n' | tessera-algos ttl replay --ttl 10 --buckets 4 --json");

  CLI::App* show_app = app->add_subcommand("show", "what a ledger file holds, without changing it");
  auto show_options = std::make_shared<ShowOptions>();
  show_app->add_option("file", show_options->file, "ledger file")->required();
  show_app->add_flag("--json", show_options->json, "print one JSON object");

  return {app, [=] { return replay_app->parsed() ? replay(*replay_options) : show(*show_options); }};
}

}  // namespace tessera::tools
