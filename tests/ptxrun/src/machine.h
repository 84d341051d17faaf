// Decoded programs and machine state. Internal to ptxrun.
#pragma once
#include <array>
#include <cassert>
#include <deque>
#include <map>
#include <random>
#include <unordered_map>

#include "num.h"
#include "parse.h"
#include "ptxrun.h"

namespace ptxrun {

constexpr int W = 32;
constexpr uint32_t FULL = 0xffffffffu;
constexpr uint32_t NOPC = 0xffffffffu;
constexpr uint32_t CONSTBIT = 0x80000000u;  // operand lives in the constant area
constexpr uint64_t SHARED_WIN = 0x300000000000ull, LOCAL_WIN = 0x310000000000ull,
                   PARAM_WIN = 0x320000000000ull, WIN_SIZE = 0x10000000000ull;
constexpr uint32_t SHARED_BASE_OFF = 1024;  // shared variables start here, as on current devices
constexpr uint32_t SLOT_SHIFT = 32;         // device buffers start at multiples of 4 GiB
constexpr uint32_t SLOT_FIRST = 256, SLOT_LAST = 0x2000;

struct Ctx;
struct Inst;
using Fn = void (*)(Ctx&, const Inst&, uint32_t);

enum Ctl : uint8_t { C_ALU, C_BRA, C_BRX, C_EXIT, C_BAR, C_WSYNC, C_YIELD, C_TRYWAIT, C_TRAP };

struct Inst {
  Fn fn = nullptr;
  Ctl ctl = C_ALU;
  bool gneg = false;
  int16_t guard = -1;
  uint8_t ty = 0, ty2 = 0, sub = 0, sp = 0, fl = 0, nv = 0, nv2 = 0, sz = 0;
  uint32_t d = 0, d2 = 0, a = 0, b = 0, c = 0, e = 0;
  int64_t imm = 0;
  uint32_t vp = 0;
  uint32_t target = 0, rpc = NOPC;
  void *f1 = nullptr, *f2 = nullptr;
};
struct Src {
  std::string text;
  int line = 0, fline = 0;
  std::string file, ptx;
};

struct Program {
  std::string name;
  KernelInfo info;
  std::vector<Inst> code;
  std::vector<int> srcidx;  // per inst
  std::vector<Src> src;
  std::vector<uint32_t> vpool;  // operand lists
  std::vector<uint8_t> consts;  // 32-lane constant arrays
  uint32_t reg_bytes = 0, npred = 0, local_bytes = 0;
  uint32_t static_shared = 0;  // with guard gaps
  uint32_t dyn_off = 0, dyn_align = 16;
  struct SharedVar {
    std::string name;
    uint32_t off, size;
  };
  std::vector<SharedVar> shvars;
  uint32_t sh_gran = 16, gl_gran = 16;
  bool uses_async = false, uses_shared = false, uses_fence = false;
  // special registers: slots in the register file
  struct Spec {
    int kind;
    uint32_t slot;
    int bits;
  };
  std::vector<Spec> spec;
};
enum SpecKind {
  S_TIDX,
  S_TIDY,
  S_TIDZ,
  S_NTIDX,
  S_NTIDY,
  S_NTIDZ,
  S_CTAX,
  S_CTAY,
  S_CTAZ,
  S_NCTAX,
  S_NCTAY,
  S_NCTAZ,
  S_LANE,
  S_WARP,
  S_NWARP,
  S_LMEQ,
  S_LMLT,
  S_LMLE,
  S_LMGT,
  S_LMGE,
  S_ZERO,
  S_ONE,
  S_SMID,
  S_NSMID,
  S_GRIDID,
  S_CLOCK,
  S_DYNSM,
  S_TOTSM,
  S_ENV1,
  S_ENV2
};

struct Buffer {
  std::string name;
  Access access = Access::InOut;
  uint64_t base = 0;
  uint8_t* p = nullptr;
  uint64_t size = 0;
  std::unique_ptr<uint8_t[]> own;
  std::vector<uint8_t> init;  // one byte per byte; empty: all initialised
  struct GRec {
    uint32_t launch = 0, block = 0, clock = 0;
    uint64_t seq = 0;
    uint32_t pc = 0;
    uint16_t warp = 0;
    uint8_t lane = 0, flags = 0;
  };
  std::vector<GRec> wr, rd;  // race shadow, lazily
  uint32_t gran = 0;
};

struct Join {
  uint32_t rpc, expected, arrived;
  int parent;
};
enum GState : uint8_t { G_RUN, G_BAR, G_WSYNC, G_DONE };
struct Group {
  uint32_t pc, mask;
  int join;
  GState st;
  uint32_t bar;
};
struct AsyncOp {
  uint8_t lane;
  uint8_t size;
  uint32_t dst, group;
  uint8_t data[16];
};

struct Warp {
  int id = 0;
  uint8_t* regs = nullptr;
  std::vector<uint32_t> pred;
  std::vector<Group> groups;
  std::vector<Join> joins;
  std::vector<int> free_joins;
  uint32_t live = 0, all = 0;
  uint32_t cc[1] = {0};        // carry flags by lane
  std::vector<uint8_t> local;  // lanes * local_bytes
  std::vector<AsyncOp> async;
  uint32_t agroup[W] = {};
  std::vector<uint32_t> vc;   // vector clock
  std::vector<uint32_t> fvc;  // vector clock at the last fence
};

struct WRec {
  uint32_t clock = 0;
  uint32_t pc = 0;
  uint16_t warp = 0;
  uint8_t lane = 0;
  uint8_t atomic = 0;
};
struct RRec {
  uint32_t clock = 0, lanes = 0, pc = 0;
};
struct MBar {
  uint32_t expected = 0, pending = 0;
  int64_t tx = 0;
  uint64_t phase = 0;
  std::vector<uint32_t> vc, donevc;
  std::vector<std::pair<uint32_t, uint32_t>> bulk, bulkdone;
  bool valid = false;
};
struct Bar {
  uint32_t threads = 0, rounded = 0, expected = 0;
  std::vector<uint32_t> vc;
  uint32_t popc = 0;
  bool all = true, any = false;
};

struct Block {
  uint64_t lin = 0;
  Dim3 id;
  std::vector<Warp> warps;
  std::unique_ptr<uint8_t[]> regmem;
  uint8_t* regal = nullptr;
  std::vector<uint8_t> sh,
      st;  // contents; state: bit0 stored, bit1 async in flight, bit2 outside any variable
  std::vector<WRec> wr;
  std::vector<RRec> rd;
  std::unordered_map<uint32_t, MBar> mbar;
  std::unordered_map<uint64_t, std::vector<uint32_t>> sync;  // what atomics at an address have published
  Bar bar[16];
  uint32_t live_threads = 0;
  uint64_t acq_seq = 0;
  uint32_t clock_base = 0;
  bool done = true;
};

struct Ctx {
  uint8_t* base[2];
  uint32_t* pred;
  Warp* w;
  Block* b;
  Machine* M;
  const Program* P;
  uint32_t pc;
  uint32_t gmask;  // lanes of the group
  bool flag;       // result of a try-wait
};

template <class T>
inline T* dst(Ctx& c, uint32_t o) {
  return (T*)(c.base[0] + o);
}
template <class T>
inline const T* src(const Ctx& c, uint32_t o) {
  return (const T*)(c.base[o >> 31] + (o & 0x7fffffffu));
}

#define FOR_LANES(l, m) \
  for (uint32_t _m = (m), l; _m && ((l = (uint32_t)__builtin_ctz(_m)), true); _m &= _m - 1)

class Machine {
 public:
  Options opt;
  std::vector<std::unique_ptr<Module>> mods;
  std::map<std::string, std::pair<const Module*, const Function*>> funcs;
  std::map<std::string, std::unique_ptr<Program>> progs;
  struct Sym {
    uint64_t addr;
    size_t size;
  };
  std::map<const Module*, std::map<std::string, Sym>> syms;  // module-scope variables
  uint32_t next_slot = SLOT_FIRST;
  uint64_t failed_waits = 0;
  uint64_t gridws = 0;  // grid barrier workspace of cooperative groups
  const Sym* symbol(const Module* m, const std::string& n) const;
  std::vector<Buffer*> slot;  // by address >> 32
  std::map<uint64_t, std::unique_ptr<Buffer>> bufs, hosts;
  std::vector<Finding> finds;
  std::map<std::string, size_t> findidx;
  std::vector<uint8_t> params;
  Dim3 grid, bdim;
  uint32_t dyn = 0, shbytes = 0;
  uint32_t launch_id = 0, clock0 = 1;
  uint64_t seq = 0, tinsts = 0, mmas = 0;
  std::vector<uint64_t> rel_seq;  // by block: last fence
  uint64_t noise = 0x9e3779b97f4a7c15ull;
  bool track_sh = false, track_gl = false;

  explicit Machine(const Options& o) : opt(o), slot(SLOT_LAST + 1, nullptr) {}

  // ---- messages
  std::string where(const Ctx& c, int lane) const;
  std::string who(const Block* b, int warp, int lane) const;
  std::string srcline(const Program* P, uint32_t pc) const;
  [[noreturn]] void fault(const Ctx& c, int lane, const std::string& kind, const std::string& msg) const;
  void find(const Ctx& c, int lane, const std::string& kind, const std::string& msg, const std::string& key);

  // ---- memory
  Buffer* buffer_at(uint64_t a) const {
    if ((a >> SLOT_SHIFT) <= SLOT_LAST) {
      Buffer* b = slot[a >> SLOT_SHIFT];
      if (b) return b;
    }
    if (!hosts.empty()) {
      auto it = hosts.upper_bound(a);
      if (it != hosts.begin()) {
        --it;
        if (a < it->first + it->second->size) return it->second.get();
      }
    }
    return nullptr;
  }
  std::string describe(uint64_t a) const;
  Buffer* gcheck(const Ctx& c, int lane, uint64_t a, uint32_t n, bool wr);
  void gnote(Ctx& c, Buffer* b, int lane, uint64_t off, uint32_t n, bool wr, bool atomic, const uint8_t* val);
  void scheck(Ctx& c, int lane, uint64_t off, uint32_t n, bool wr, bool needinit);
  void snote(Ctx& c, int lane, uint32_t off, uint32_t n, bool wr, bool atomic, const uint8_t* val);
  void async_complete(Ctx& c, uint32_t lanes, uint32_t keep, bool all);
  void release(Ctx& c, bool device);  // fence
  void publish(Ctx& c, uint64_t a);   // atomic or strong store after a fence
  void acquire(Ctx& c, uint64_t a);   // atomic or strong load

  // ---- programs
  Program& program(const std::string& kernel);
  void add_module(std::unique_ptr<Module> m);

  uint64_t alloc(size_t n, const std::string& name, Access a);
  Stats run(Program& P, Dim3 g, Dim3 b, uint32_t dyn, const Args& args);
  void start_block(Program& P, Block& B, uint64_t lin);
  bool run_block(Program& P, Block& B);  // true: some progress
  void run_group(Program& P, Block& B, Warp& w, int gi, Ctx& c);
  void exit_lanes(Block& B, Warp& w, int join, uint32_t lanes);
  void bar_check(Program& P, Block& B, int id);
  int new_join(Warp& w, uint32_t rpc, uint32_t expected, int parent);
  void bind(Ctx& c, Program& P, Block& B, Warp& w);
  bool wsync(Program& P, Warp& w, Group& g, const Inst& I, uint32_t m, Ctx& c);
  std::string stuck(Program& P, const std::vector<std::unique_ptr<Block>>& bs) const;
};

// ---- decoder
struct Dec {
  Machine& M;
  Program& P;
  const Module* mod;
  struct Env {
    const Function* f;
    const Module* mod;
    std::vector<int> slot;  // register id -> pred index or byte offset
    struct Loc {
      int kind = 0;
      uint32_t off = 0;
    };  // 0 unset, 1 entry param, 2 local frame, 3 shared, 4 global address in gaddr
    std::vector<Loc> loc;
    std::vector<uint64_t> gaddr;
    std::vector<std::pair<size_t, int>> fix;   // inst -> label
    std::vector<std::pair<size_t, int>> vfix;  // vpool index -> label
    std::vector<uint32_t> labelpc;
    std::vector<size_t> retfix;
    Env* up = nullptr;
    int depth = 0;
  };
  Dec(Machine& m, Program& p, const Module* md) : M(m), P(p), mod(md) {}
  Env* env = nullptr;
  const Stmt* s = nullptr;
  std::map<std::pair<int, uint64_t>, uint32_t> cpool;
  std::map<int, uint32_t> specslot;
  std::map<std::string, uint32_t> shoff;
  uint32_t sh_raw = 0;

  [[noreturn]] void bad(const std::string& why) const;
  bool has(const char* w) const {
    for (size_t i = 1; i < s->op.size(); i++)
      if (s->op[i] == w) return true;
    return false;
  }
  // types in the opcode, in order
  std::vector<Ty> types() const {
    std::vector<Ty> r;
    for (size_t i = 1; i < s->op.size(); i++) {
      Ty t = ty_parse(s->op[i]);
      if (t != T_NONE) r.push_back(t);
    }
    return r;
  }
  Ty type() const {
    auto t = types();
    if (t.empty()) bad("no type");
    return t.back();
  }
  const Opnd& o(size_t i) const {
    if (i >= s->o.size()) bad("too few operands");
    return s->o[i];
  }

  static int regbits(Ty t) { return t == T_PRED ? 1 : ty_bytes(t) <= 4 ? 32 : ty_bytes(t) * 8; }
  int bits_of(const Opnd& x) const {
    if (x.k == Opnd::REG && x.reg >= 0) return regbits(env->f->regs[x.reg].ty);
    return 0;
  }
  uint32_t konst(int bits, uint64_t v);
  uint32_t special(const std::string& n, int bits);
  uint32_t newreg(int bits);
  uint32_t in(const Opnd& x, Ty t);  // source of the type's width
  uint32_t in_bits(const Opnd& x, int bits, Ty t = T_NONE);
  uint32_t out(const Opnd& x, Ty t);
  uint32_t out_any(const Opnd& x, int& bits);                   // destination of any width
  int pred(const Opnd& x) const;                                // predicate index
  uint32_t addr(const Opnd& x, Sp sp, Inst& I);                 // sets I.a, I.imm, I.fl bit0 (32-bit base)
  uint64_t symaddr(const std::string& n, Sp& sp, int64_t off);  // address in its own space; sp out
  Rnd rnd() const {
    return has("rz") || has("rzi")   ? RZ
           : has("rm") || has("rmi") ? RM
           : has("rp") || has("rpi") ? RP
           : has("rna")              ? RNA
                                     : RN;
  }

  void function(Env& e);
  void stmt();
  void call();
  bool control(Inst& I);
  void push(Inst I);
};

bool decode_alu(Dec& D, const Stmt& s, Inst& I);
bool decode_mem(Dec& D, const Stmt& s, Inst& I);
bool decode_mma(Dec& D, const Stmt& s, Inst& I);

}  // namespace ptxrun
