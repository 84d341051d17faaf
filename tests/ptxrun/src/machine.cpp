// Decoding of functions, control flow analysis, scheduling, checks, and the Runtime interface.
#include "machine.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <time.h>

namespace ptxrun {

// ------------------------------------------------------------------ messages
static std::string hex(uint64_t v) {
  char b[32];
  snprintf(b, sizeof b, "0x%llx", (unsigned long long)v);
  return b;
}

std::string Machine::srcline(const Program* P, uint32_t pc) const {
  if (pc >= P->srcidx.size()) return "(end)";
  const Src& s = P->src[(size_t)P->srcidx[pc]];
  std::string r = s.ptx + ":" + std::to_string(s.line) + " `" + s.text + "`";
  if (!s.file.empty()) r += " [" + s.file + ":" + std::to_string(s.fline) + "]";
  return r;
}
std::string Machine::who(const Block* b, int warp, int lane) const {
  char t[160];
  if (lane < 0) {
    snprintf(t, sizeof t, "block (%u,%u,%u), warp %d", b->id.x, b->id.y, b->id.z, warp);
    return t;
  }
  uint32_t i = (uint32_t)(warp * W + lane);
  snprintf(t, sizeof t, "block (%u,%u,%u), thread (%u,%u,%u)", b->id.x, b->id.y, b->id.z, i % bdim.x,
           i / bdim.x % bdim.y, i / (bdim.x * bdim.y));
  return t;
}
static std::string brief(const std::string& n) {
  return n.size() <= 110 ? n : n.substr(0, 70) + "..." + n.substr(n.size() - 30);
}
std::string Machine::where(const Ctx& c, int lane) const {
  return "kernel " + brief(c.P->name) + ", " + who(c.b, c.w->id, lane) + ", " + srcline(c.P, c.pc);
}
void Machine::fault(const Ctx& c, int lane, const std::string& kind, const std::string& msg) const {
  throw Error(kind, kind + ": " + where(c, lane) + ": " + msg);
}
void Machine::find(const Ctx& c, int lane, const std::string& kind, const std::string& msg,
                   const std::string& key) {
  std::string k = kind + "|" + c.P->name + "|" + std::to_string(c.pc) + "|" + key;
  auto it = findidx.find(k);
  if (it != findidx.end()) {
    if (it->second < finds.size()) finds[it->second].count++;
    return;
  }
  findidx[k] = finds.size();
  if (finds.size() >= opt.max_findings) {
    findidx[k] = SIZE_MAX;
    return;
  }
  Finding f;
  f.kind = kind;
  f.message = kind + ": " + where(c, lane) + ": " + msg;
  finds.push_back(f);
}
std::string Machine::describe(uint64_t a) const {
  if (a >= SHARED_WIN && a < SHARED_WIN + WIN_SIZE) return "shared+" + std::to_string(a - SHARED_WIN);
  if (a >= LOCAL_WIN && a < LOCAL_WIN + WIN_SIZE) return "local+" + std::to_string(a - LOCAL_WIN);
  if (a >= PARAM_WIN && a < PARAM_WIN + WIN_SIZE) return "param+" + std::to_string(a - PARAM_WIN);
  Buffer* b = buffer_at(a);
  if (b)
    return hex(a) + " (buffer '" + b->name + "' of " + std::to_string(b->size) + " bytes, offset " +
           std::to_string((int64_t)(a - b->base)) + ")";
  // just below a buffer?
  if ((a >> SLOT_SHIFT) + 1 <= SLOT_LAST && (b = slot[(a >> SLOT_SHIFT) + 1]))
    return hex(a) + " (" + std::to_string(b->base - a) + " bytes before buffer '" + b->name + "')";
  return hex(a) + " (no buffer)";
}

// ------------------------------------------------------------------ memory checks
Buffer* Machine::gcheck(const Ctx& c, int lane, uint64_t a, uint32_t n, bool wr) {
  Buffer* b = buffer_at(a);
  if (!b || a + n > b->base + b->size)
    fault(c, lane, "out of bounds",
          std::string(wr ? "store" : "load") + " of " + std::to_string(n) + " bytes at " + describe(a));
  if (wr && b->access == Access::In) fault(c, lane, "read-only", "store to input " + describe(a));
  return b;
}
void Machine::gnote(Ctx& c, Buffer* b, int lane, uint64_t off, uint32_t n, bool wr, bool atomic,
                    const uint8_t* val) {
  uint32_t gr = c.P->gl_gran;
  if (b->gran != gr) {
    if (b->size / gr > (4u << 20)) return;  // too large to track
    b->gran = gr;
    b->wr.assign(b->size / gr + 2, {});
    b->rd.assign(b->size / gr + 2, {});
  }
  Block& B = *c.b;
  const uint32_t wid = (uint32_t)c.w->id, own = c.w->vc[wid], blk = (uint32_t)B.lin;
  auto racy = [&](const Buffer::GRec& r) {
    if (r.launch != launch_id) return false;
    if (r.block == blk) return r.warp == wid ? r.lane != lane && r.clock == own : r.clock > c.w->vc[r.warp];
    return !(rel_seq[r.block] > r.seq && B.acq_seq > r.seq);
  };
  for (uint64_t g = off / gr; g <= (off + n - 1) / gr; g++) {
    Buffer::GRec &w = b->wr[g], &r = b->rd[g];
    const Buffer::GRec* bad = nullptr;
    const char* what = "";
    if (!(atomic && w.flags) && racy(w) && !(wr && val && memcmp(b->p + off, val, n) == 0)) {
      bad = &w;
      what = wr ? "write after write" : "read after write";
    } else if (wr && !(atomic && r.flags) && racy(r)) {
      bad = &r;
      what = "write after read";
    }
    if (bad) {
      uint32_t i = (uint32_t)(bad->warp * W + bad->lane);
      Dim3 o;
      o.x = bad->block % grid.x;
      o.y = bad->block / grid.x % grid.y;
      o.z = bad->block / (grid.x * grid.y);
      char t[128];
      snprintf(t, sizeof t, "block (%u,%u,%u), thread (%u,%u,%u)", o.x, o.y, o.z, i % bdim.x,
               i / bdim.x % bdim.y, i / (bdim.x * bdim.y));
      find(c, lane, "race",
           std::string(what) + " on global memory " + describe(b->base + off) + ", other access by " + t +
               " at " + srcline(c.P, bad->pc),
           std::to_string(bad->pc) + what);
    }
    Buffer::GRec& z = wr ? w : r;
    z.launch = launch_id;
    z.block = blk;
    z.clock = own;
    z.seq = seq;
    z.pc = c.pc;
    z.warp = (uint16_t)wid;
    z.lane = (uint8_t)lane;
    z.flags = atomic;
  }
}
void Machine::scheck(Ctx& c, int lane, uint64_t off, uint32_t n, bool wr, bool needinit) {
  Block& B = *c.b;
  if (off >= B.sh.size() || off + n > B.sh.size()) {
    fault(c, lane, "out of bounds",
          std::string(wr ? "store" : "load") + " of " + std::to_string(n) + " bytes at shared+" +
              std::to_string(off) + " (shared memory ends at " + std::to_string(B.sh.size()) +
              "; variables start at " + std::to_string(SHARED_BASE_OFF) + ", dynamic part at " +
              std::to_string(c.P->dyn_off) + ")");
  }
  const uint8_t* s = &B.st[off];
  uint8_t orv = 0, andv = 1;
  for (uint32_t i = 0; i < n; i++) {
    orv |= s[i];
    andv &= s[i];
  }
  if (orv & 4) {
    std::string v;
    for (auto& x : c.P->shvars)
      if (off + n > x.off && off < (uint64_t)x.off + x.size + 256)
        v = " (near variable " + x.name + " of " + std::to_string(x.size) + " bytes, offset " +
            std::to_string((int64_t)off - (int64_t)x.off) + ")";
    fault(c, lane, "out of bounds",
          std::string(wr ? "store" : "load") + " of " + std::to_string(n) + " bytes at shared+" +
              std::to_string(off) + ", outside every shared variable" + v);
  }
  if (orv & 2)
    find(c, lane, "async",
         std::string(wr ? "writes" : "reads") + " shared+" + std::to_string(off) +
             " while an asynchronous copy into it is in flight (missing wait)",
         "");
  else if (needinit && !(andv & 1) && opt.init_shared) {
    uint32_t i = 0;
    while (s[i] & 1) i++;
    find(c, lane, "uninitialised",
         "reads shared+" + std::to_string(off + i) + ", never written in this block", "");
  }
}
void Machine::snote(Ctx& c, int lane, uint32_t off, uint32_t n, bool wr, bool atomic, const uint8_t* val) {
  Block& B = *c.b;
  const uint32_t gr = c.P->sh_gran, NW = (uint32_t)B.warps.size(), wid = (uint32_t)c.w->id,
                 base = B.clock_base;
  const std::vector<uint32_t>& vc = c.w->vc;
  const uint32_t own = vc[wid], bit = 1u << lane;
  for (uint32_t g = off / gr; g <= (off + n - 1) / gr; g++) {
    WRec& w = B.wr[g];
    int ow = -1, ol = -1;
    uint32_t opc = 0;
    const char* what = "";
    if (w.clock >= base && !(atomic && w.atomic) &&
        (w.warp == wid ? w.lane != lane && w.clock == own : w.clock > vc[w.warp])) {
      if (!(wr && val && memcmp(&B.sh[off], val, n) == 0)) {
        ow = w.warp;
        ol = w.lane;
        opc = w.pc;
        what = wr ? "write after write" : "read after write";
      }
    }
    if (wr) {
      RRec* r = &B.rd[(size_t)g * NW];
      for (uint32_t x = 0; x < NW && ow < 0; x++) {
        if (r[x].clock < base) continue;
        if (x == wid ? r[x].clock == own && (r[x].lanes & ~bit) : r[x].clock > vc[x]) {
          uint32_t ln = x == wid ? r[x].lanes & ~bit : r[x].lanes;
          ow = (int)x;
          ol = __builtin_ctz(ln);
          opc = r[x].pc;
          what = "write after read";
        }
      }
      w.clock = own;
      w.pc = c.pc;
      w.warp = (uint16_t)wid;
      w.lane = (uint8_t)lane;
      w.atomic = atomic;
    } else if (!atomic) {
      RRec& r = B.rd[(size_t)g * NW + wid];
      if (r.clock != own) {
        r.clock = own;
        r.lanes = 0;
      }
      r.lanes |= bit;
      r.pc = c.pc;
    }
    if (ow >= 0)
      find(c, lane, "race",
           std::string(what) + " on shared+" + std::to_string(off) +
               " without a barrier between, other access by " + who(&B, ow, ol) + " at " + srcline(c.P, opc),
           std::to_string(opc) + what);
  }
}
void Machine::async_complete(Ctx& c, uint32_t lanes, uint32_t keep, bool all) {
  auto& v = c.w->async;
  size_t o = 0;
  for (size_t i = 0; i < v.size(); i++) {
    AsyncOp& a = v[i];
    if ((lanes >> a.lane & 1) && (all || a.group + keep < c.w->agroup[a.lane])) {
      memcpy(&c.b->sh[a.dst], a.data, a.size);
      for (int k = 0; k < a.size; k++) c.b->st[a.dst + k] = (uint8_t)((c.b->st[a.dst + k] & ~2) | 1);
      if (track_sh) {
        uint32_t own = c.w->vc[c.w->id];
        for (uint32_t g = a.dst / c.P->sh_gran; g <= (a.dst + a.size - 1) / c.P->sh_gran; g++) {
          WRec& w = c.b->wr[g];
          w.clock = own;
          w.pc = c.pc;
          w.warp = (uint16_t)c.w->id;
          w.lane = a.lane;
          w.atomic = 0;
        }
      }
      continue;
    }
    if (o != i) v[o] = a;
    o++;
  }
  v.resize(o);
}
void Machine::release(Ctx& c, bool device) {
  if (device) rel_seq[c.b->lin] = seq;
  c.b->acq_seq = seq;
  if (!c.w->vc.empty()) {
    c.w->fvc = c.w->vc;
    c.w->vc[(size_t)c.w->id]++;
  }
}
void Machine::publish(Ctx& c, uint64_t a) {
  if (c.w->fvc.empty()) return;
  auto& s = c.b->sync[a];
  if (s.size() != c.w->fvc.size()) s.assign(c.w->fvc.size(), 0);
  for (size_t i = 0; i < s.size(); i++) s[i] = std::max(s[i], c.w->fvc[i]);
}
void Machine::acquire(Ctx& c, uint64_t a) {
  c.b->acq_seq = seq;
  if (c.w->vc.empty()) return;
  auto it = c.b->sync.find(a);
  if (it == c.b->sync.end()) return;
  for (size_t i = 0; i < it->second.size() && i < c.w->vc.size(); i++)
    if ((int)i != c.w->id) c.w->vc[i] = std::max(c.w->vc[i], it->second[i]);
}

// ------------------------------------------------------------------ decoder helpers
void Dec::bad(const std::string& why) const {
  std::string t = "unsupported: kernel " + brief(P.name);
  if (s) t += ", " + mod->name + ":" + std::to_string(s->line) + " `" + s->text + "`";
  throw Error("unsupported", t + ": " + why);
}
uint32_t Dec::newreg(int bits) {
  uint32_t o = P.reg_bytes;
  P.reg_bytes += (uint32_t)(W * (bits <= 32 ? 4 : bits / 8));
  return o;
}
uint32_t Dec::konst(int bits, uint64_t v) {
  if (bits < 32) bits = 32;
  if (bits == 32) v &= 0xffffffffu;
  auto k = std::make_pair(bits, v);
  auto it = cpool.find(k);
  if (it != cpool.end()) return it->second;
  uint32_t o = (uint32_t)P.consts.size();
  int by = bits / 8;
  P.consts.resize(o + (size_t)W * by, 0);
  for (int l = 0; l < W; l++) memcpy(&P.consts[o + (size_t)l * by], &v, std::min(by, 8));
  return cpool[k] = o | CONSTBIT;
}
uint32_t Dec::special(const std::string& n, int bits) {
  static const std::map<std::string, int> k = {{"%tid.x", S_TIDX},
                                               {"%tid.y", S_TIDY},
                                               {"%tid.z", S_TIDZ},
                                               {"%ntid.x", S_NTIDX},
                                               {"%ntid.y", S_NTIDY},
                                               {"%ntid.z", S_NTIDZ},
                                               {"%ctaid.x", S_CTAX},
                                               {"%ctaid.y", S_CTAY},
                                               {"%ctaid.z", S_CTAZ},
                                               {"%nctaid.x", S_NCTAX},
                                               {"%nctaid.y", S_NCTAY},
                                               {"%nctaid.z", S_NCTAZ},
                                               {"%laneid", S_LANE},
                                               {"%warpid", S_WARP},
                                               {"%nwarpid", S_NWARP},
                                               {"%lanemask_eq", S_LMEQ},
                                               {"%lanemask_lt", S_LMLT},
                                               {"%lanemask_le", S_LMLE},
                                               {"%lanemask_gt", S_LMGT},
                                               {"%lanemask_ge", S_LMGE},
                                               {"%smid", S_SMID},
                                               {"%nsmid", S_NSMID},
                                               {"%gridid", S_GRIDID},
                                               {"%envreg1", S_ENV1},
                                               {"%envreg2", S_ENV2},
                                               {"%dynamic_smem_size", S_DYNSM},
                                               {"%total_smem_size", S_TOTSM},
                                               {"%cluster_ctarank", S_ZERO},
                                               {"%cluster_nctarank", S_ONE},
                                               {"%cluster_ctaid.x", S_ZERO},
                                               {"%cluster_ctaid.y", S_ZERO},
                                               {"%cluster_ctaid.z", S_ZERO},
                                               {"%cluster_nctaid.x", S_ONE},
                                               {"%cluster_nctaid.y", S_ONE},
                                               {"%cluster_nctaid.z", S_ONE},
                                               {"%clusterid.x", S_CTAX},
                                               {"%clusterid.y", S_CTAY},
                                               {"%clusterid.z", S_CTAZ},
                                               {"%nclusterid.x", S_NCTAX},
                                               {"%nclusterid.y", S_NCTAY},
                                               {"%nclusterid.z", S_NCTAZ}};
  auto it = k.find(n);
  if (it == k.end()) bad("special register or unknown name " + n);
  int b = bits == 64 ? 64 : 32, key = it->second * 2 + (b == 64);
  auto q = specslot.find(key);
  if (q != specslot.end()) return q->second;
  uint32_t o = newreg(b);
  P.spec.push_back({it->second, o, b});
  return specslot[key] = o;
}
uint64_t Dec::symaddr(const std::string& n, Sp& sp, int64_t off) {
  int v = env->f->find(s->scope, n, 1);
  if (v >= 0) {
    const Env::Loc& l = env->loc[(size_t)v];
    switch (l.kind) {
      case 1: sp = Sp::Param; return l.off + (uint64_t)off;
      case 2: sp = Sp::Local; return l.off + (uint64_t)off;
      case 3: sp = Sp::Shared; return l.off + (uint64_t)off;
      case 4: sp = Sp::Global; return env->gaddr[(size_t)v] + (uint64_t)off;
    }
    bad("variable " + n + " has no location");
  }
  for (auto& mv : env->mod->vars)
    if (mv.name == n && mv.space == Sp::Shared) {
      sp = Sp::Shared;
      if (mv.size == 0) {
        P.dyn_align = std::max(P.dyn_align, mv.align);
        return P.dyn_off + (uint64_t)off;
      }
      auto it = shoff.find(n);
      uint32_t o;
      if (it != shoff.end())
        o = it->second;
      else {
        uint32_t al = std::max(mv.align, 16u);
        o = (P.static_shared + al - 1) / al * al;
        P.static_shared = o + (uint32_t)mv.size + 128;
        sh_raw += (uint32_t)mv.size;
        P.shvars.push_back({n, o, (uint32_t)mv.size});
        shoff[n] = o;
      }
      return o + (uint64_t)off;
    }
  const Machine::Sym* g = M.symbol(env->mod, n);
  if (g) {
    sp = Sp::Global;
    return g->addr + (uint64_t)off;
  }
  if (M.funcs.count(n)) bad("address of function " + n);
  bad("unknown symbol " + n);
}
uint32_t Dec::in_bits(const Opnd& x, int bits, Ty t) {
  switch (x.k) {
    case Opnd::REG: {
      if (x.reg < 0) bad("operand");
      if (x.neg) bad("negated register operand");
      int b = bits_of(x);
      if (b == 1) bad("predicate used as a value");
      if (b != bits)
        bad("operand " + env->f->regs[(size_t)x.reg].name + " has width " + std::to_string(b) +
            ", instruction needs " + std::to_string(bits));
      return (uint32_t)env->slot[(size_t)x.reg];
    }
    case Opnd::IMM: {
      uint64_t v = (uint64_t)x.imm;
      if (ty_bytes(t) == 2) v &= 0xffff;
      return konst(bits, v);
    }
    case Opnd::FIMM32:
      if (bits == 64) return konst(64, b64((double)f32((uint32_t)x.imm)));
      return konst(32, (uint64_t)x.imm);
    case Opnd::FIMM64:
      if (bits == 64) return konst(64, (uint64_t)x.imm);
      return konst(32, b32((float)f64((uint64_t)x.imm)));
    case Opnd::SREG: return special(x.name, bits);
    case Opnd::SYM: {
      Sp sp = Sp::None;
      uint64_t a = symaddr(x.name, sp, x.imm);
      return konst(bits, a);
    }
    default: bad("operand form");
  }
}
uint32_t Dec::in(const Opnd& x, Ty t) { return in_bits(x, regbits(t), t); }
uint32_t Dec::out(const Opnd& x, Ty t) {
  if (x.k == Opnd::SINK) return newreg(regbits(t));
  if (x.k != Opnd::REG || x.reg < 0) bad("destination");
  int b = bits_of(x);
  if (b != regbits(t))
    bad("destination " + env->f->regs[(size_t)x.reg].name + " has width " + std::to_string(b) +
        ", instruction writes " + std::to_string(regbits(t)));
  return (uint32_t)env->slot[(size_t)x.reg];
}
uint32_t Dec::out_any(const Opnd& x, int& bits) {
  if (x.k == Opnd::SINK) {
    bits = 64;
    return newreg(64);
  }
  if (x.k != Opnd::REG || x.reg < 0) bad("destination");
  bits = bits_of(x);
  if (bits == 1) bad("predicate destination");
  return (uint32_t)env->slot[(size_t)x.reg];
}
int Dec::pred(const Opnd& x) const {
  if (x.k != Opnd::REG || x.reg < 0 || env->f->regs[(size_t)x.reg].ty != T_PRED) bad("predicate expected");
  return env->slot[(size_t)x.reg];
}
uint32_t Dec::addr(const Opnd& x, Sp sp, Inst& I) {
  if (x.k != Opnd::ADDR) bad("address expected");
  if (!x.v.empty()) bad("tensor address");
  I.sp = (uint8_t)sp;
  I.fl &= (uint8_t)~1;
  if (x.reg >= 0) {
    Opnd r;
    r.k = Opnd::REG;
    r.reg = x.reg;
    int b = bits_of(r);
    if (b == 32) {
      if (sp == Sp::Global || sp == Sp::Generic || sp == Sp::Const) bad("32-bit address in this space");
      I.fl |= 1;
    } else if (b != 64)
      bad("address register");
    I.imm = x.imm;
    return (uint32_t)env->slot[(size_t)x.reg];
  }
  uint64_t a = (uint64_t)x.imm;
  if (!x.name.empty()) {
    Sp q = sp;
    a = symaddr(x.name, q, x.imm);
    if (sp == Sp::Generic) {
      if (q == Sp::Shared)
        a += SHARED_WIN;
      else if (q == Sp::Local)
        a += LOCAL_WIN;
      else if (q == Sp::Param)
        a += PARAM_WIN;
    } else if (q == Sp::Local && sp == Sp::Param)
      I.sp = (uint8_t)Sp::Local;
    else if (q != sp && !(q == Sp::Global && sp == Sp::Const))
      bad("symbol " + x.name + " is in another state space");
  }
  I.imm = 0;
  return konst(64, a);
}
void Dec::push(Inst I) {
  if (s->guard >= 0) {
    I.guard = (int16_t)env->slot[(size_t)s->guard];
    I.gneg = s->gneg;
  }
  P.code.push_back(I);
  P.srcidx.push_back((int)P.src.size() - 1);
}

namespace {
void ex_none(Ctx&, const Inst&, uint32_t) {}
uint64_t rd_local(Ctx& c, int l, uint32_t off) {
  uint64_t v;
  memcpy(&v, &c.w->local[(size_t)l * c.P->local_bytes + off], 8);
  return v;
}
const uint8_t* rd_any(Ctx& c, int l, uint64_t a, uint32_t n) {
  if (a >= LOCAL_WIN && a < LOCAL_WIN + WIN_SIZE) {
    a -= LOCAL_WIN;
    if (a + n > c.P->local_bytes) c.M->fault(c, l, "out of bounds", "printf arguments");
    return &c.w->local[(size_t)l * c.P->local_bytes + a];
  }
  if (a >= SHARED_WIN && a < SHARED_WIN + WIN_SIZE) {
    c.M->scheck(c, l, a - SHARED_WIN, n, false, true);
    return &c.b->sh[a - SHARED_WIN];
  }
  Buffer* b = c.M->gcheck(c, l, a, n, false);
  return b->p + (a - b->base);
}
std::string rd_str(Ctx& c, int l, uint64_t a) {
  std::string r;
  for (;; a++) {
    char ch = (char)*rd_any(c, l, a, 1);
    if (!ch) return r;
    r += ch;
  }
}
void ex_printf(Ctx& c, const Inst& I, uint32_t m) {
  FOR_LANES(li, m) {
    int l = (int)li;
    std::string f = rd_str(c, l, rd_local(c, l, I.a)), out;
    uint64_t ap = rd_local(c, l, I.b);
    int cnt = 0;
    for (size_t i = 0; i < f.size(); i++) {
      if (f[i] != '%') {
        out += f[i];
        continue;
      }
      if (i + 1 < f.size() && f[i + 1] == '%') {
        out += '%';
        i++;
        continue;
      }
      std::string sp = "%";
      size_t j = i + 1;
      int longs = 0;
      auto arg = [&](uint32_t n) {
        ap = (ap + n - 1) / n * n;
        uint64_t v = 0;
        memcpy(&v, rd_any(c, l, ap, n), n);
        ap += n;
        cnt++;
        return v;
      };
      for (; j < f.size() && !isalpha((unsigned char)f[j]); j++) {
        if (f[j] == '*')
          sp += std::to_string((int)arg(4));
        else
          sp += f[j];
      }
      for (; j < f.size() && (f[j] == 'l' || f[j] == 'h' || f[j] == 'z' || f[j] == 'j' || f[j] == 't'); j++)
        if (f[j] != 'h') longs++;
      if (j >= f.size()) break;
      char b[256], k = f[j];
      switch (k) {
        case 'd':
        case 'i':
          if (longs)
            snprintf(b, sizeof b, (sp + "lld").c_str(), (long long)arg(8));
          else
            snprintf(b, sizeof b, (sp + "d").c_str(), (int)arg(4));
          break;
        case 'u':
        case 'x':
        case 'X':
        case 'o':
          if (longs)
            snprintf(b, sizeof b, (sp + "ll" + k).c_str(), (unsigned long long)arg(8));
          else
            snprintf(b, sizeof b, (sp + k).c_str(), (unsigned)arg(4));
          break;
        case 'c': snprintf(b, sizeof b, (sp + "c").c_str(), (int)arg(4)); break;
        case 'p': snprintf(b, sizeof b, "0x%llx", (unsigned long long)arg(8)); break;
        case 's': snprintf(b, sizeof b, (sp + "s").c_str(), rd_str(c, l, arg(8)).c_str()); break;
        default: snprintf(b, sizeof b, (sp + k).c_str(), f64(arg(8)));
      }
      out += b;
      i = j;
    }
    if (c.M->opt.printf_out) fputs(out.c_str(), c.M->opt.printf_out);
    if (I.imm >= 0) memcpy(&c.w->local[(size_t)l * c.P->local_bytes + (size_t)I.imm], &cnt, 4);
  }
}
void ex_assert(Ctx& c, const Inst& I, uint32_t m) {
  int l = __builtin_ctz(m);
  uint32_t line;
  memcpy(&line, &c.w->local[(size_t)l * c.P->local_bytes + I.c], 4);
  c.M->fault(c, l, "assert",
             "device assertion failed: " + rd_str(c, l, rd_local(c, l, I.a)) + " at " +
                 rd_str(c, l, rd_local(c, l, I.b)) + ":" + std::to_string(line));
}
}  // namespace

bool Dec::control(Inst& I) {
  const std::string& op = s->op[0];
  auto label = [&](const Opnd& x) {
    int id = env->f->find(s->scope, x.name, 2);
    if (id < 0) bad("unknown label " + x.name);
    return id;
  };
  if (op == "bra") {
    I.ctl = C_BRA;
    env->fix.emplace_back(P.code.size(), label(o(0)));
    push(I);
    return true;
  }
  if (op == "brx") {
    I.ctl = C_BRX;
    I.a = in(o(0), T_U32);
    int t = env->f->find(s->scope, o(1).name, 3);
    if (t < 0) bad("unknown branch table");
    auto& tab = env->f->tables[(size_t)t];
    I.vp = (uint32_t)P.vpool.size();
    I.imm = (int64_t)tab.size();
    for (auto& n : tab) {
      int id = env->f->find(s->scope, n, 2);
      if (id < 0) bad("unknown label " + n);
      env->vfix.emplace_back(P.vpool.size(), id);
      P.vpool.push_back(0);
    }
    push(I);
    return true;
  }
  if (op == "ret" && env->depth) {
    I.ctl = C_BRA;
    env->retfix.push_back(P.code.size());
    push(I);
    return true;
  }
  if (op == "ret" || op == "exit") {
    I.ctl = C_EXIT;
    push(I);
    return true;
  }
  if (op == "trap") {
    I.ctl = C_TRAP;
    push(I);
    return true;
  }
  if (op == "brkpt") return true;
  if (op == "nanosleep") {
    I.ctl = C_YIELD;
    I.fn = ex_none;
    push(I);
    return true;
  }
  if ((op == "bar" || op == "barrier") && !has("warp")) {
    I.ctl = C_BAR;
    I.fl = op == "bar" || has("aligned") ? 1 : 0;
    I.b = NOPC;
    if (has("cluster")) {
      if (has("arrive")) {
        I.ctl = C_ALU;
        I.fn = ex_none;
        push(I);
        return true;
      }
      I.a = konst(32, 15);
      push(I);
      return true;
    }
    if (has("red")) {
      I.sub = has("popc") ? 2 : has("and") ? 3 : 4;
      if (I.sub == 2)
        I.d = out(o(0), T_U32);
      else
        I.d = (uint32_t)pred(o(0));
      I.a = in(o(1), T_U32);
      if (s->o.size() == 4) I.b = in(o(2), T_U32);
      const Opnd& p = s->o.back();
      I.c = (uint32_t)pred(p);
      I.fl |= p.neg ? 2 : 0;
    } else {
      I.sub = has("arrive") ? 1 : 0;
      I.a = in(o(0), T_U32);
      if (s->o.size() > 1) I.b = in(o(1), T_U32);
    }
    push(I);
    return true;
  }
  if (op == "call") {
    call();
    return true;
  }
  return false;
}

void Dec::call() {
  size_t i = 0;
  const std::vector<Opnd>*rets = nullptr, *args = nullptr;
  if (o(0).k == Opnd::VEC) {
    rets = &o(0).v;
    i = 1;
  }
  const Opnd& f = o(i);
  if (f.k != Opnd::SYM) bad("indirect call");
  if (s->o.size() > i + 1 && o(i + 1).k == Opnd::VEC) args = &o(i + 1).v;
  auto loc = [&](const Opnd& x) -> Env::Loc {
    int v = x.k == Opnd::SYM ? env->f->find(s->scope, x.name, 1) : -1;
    if (v < 0) bad("call argument");
    return env->loc[(size_t)v];
  };
  Inst I;
  if (f.name == "vprintf") {
    I.fn = ex_printf;
    I.a = loc((*args)[0]).off;
    I.b = loc((*args)[1]).off;
    I.imm = rets && !rets->empty() ? (int64_t)loc((*rets)[0]).off : -1;
    push(I);
    return;
  }
  if (f.name == "__assertfail") {
    I.fn = ex_assert;
    I.a = loc((*args)[0]).off;
    I.b = loc((*args)[1]).off;
    I.c = loc((*args)[2]).off;
    push(I);
    return;
  }
  auto it = M.funcs.find(f.name);
  const Function* fn = nullptr;
  const Module* fm = env->mod;
  for (auto& g : env->mod->funcs)
    if (g->name == f.name && g->defined) fn = g.get();
  if (!fn && it != M.funcs.end() && it->second.second->defined) {
    fn = it->second.second;
    fm = it->second.first;
  }
  if (!fn) bad("call of undefined function " + f.name);
  for (Env* e = env; e; e = e->up)
    if (e->f == fn) bad("recursive call of " + f.name);
  if (env->depth > 60) bad("call depth");
  size_t skip = SIZE_MAX;
  if (s->guard >= 0) {
    Inst B;
    B.ctl = C_BRA;
    B.guard = (int16_t)env->slot[(size_t)s->guard];
    B.gneg = !s->gneg;
    skip = P.code.size();
    P.code.push_back(B);
    P.srcidx.push_back((int)P.src.size() - 1);
  }
  Env e;
  e.f = fn;
  e.mod = fm;
  e.up = env;
  e.depth = env->depth + 1;
  e.loc.resize(fn->vars.size());
  e.gaddr.resize(fn->vars.size());
  e.slot.assign(fn->regs.size(), -1);
  auto bind = [&](const std::vector<int>& formal, const std::vector<Opnd>* act) {
    for (size_t k = 0; k < formal.size(); k++) {
      if (!act || k >= act->size()) bad("argument count");
      const Var& v = fn->vars[(size_t)formal[k]];
      if (v.isreg >= 0) {
        const Opnd& x = (*act)[k];
        if (x.k != Opnd::REG) bad("register argument");
        e.slot[(size_t)v.isreg] = env->slot[(size_t)x.reg];  // by reference: callers pass fresh registers
      } else
        e.loc[(size_t)formal[k]] = loc((*act)[k]);
    }
  };
  bind(fn->params, args);
  bind(fn->rets, rets);
  const Stmt* keep = s;
  const Module* km = mod;
  mod = fm;
  function(e);
  mod = km;
  s = keep;
  uint32_t end = (uint32_t)P.code.size();
  for (size_t r : e.retfix) P.code[r].target = end;
  if (skip != SIZE_MAX) P.code[skip].target = end;
}

void Dec::stmt() {
  Src sr;
  sr.text = s->text;
  sr.line = s->line;
  sr.ptx = mod->name;
  size_t sl = sr.ptx.rfind('/');
  if (sl != std::string::npos) sr.ptx = sr.ptx.substr(sl + 1);
  if (s->file) {
    auto it = mod->files.find(s->file);
    if (it != mod->files.end()) {
      sr.file = it->second;
      size_t q = sr.file.rfind('/');
      if (q != std::string::npos) sr.file = sr.file.substr(q + 1);
      sr.fline = s->fline;
    }
  }
  P.src.push_back(sr);
  Inst I;
  if (control(I)) return;
  if (decode_alu(*this, *s, I) || decode_mem(*this, *s, I) || decode_mma(*this, *s, I)) {
    push(I);
    return;
  }
  bad("instruction is not implemented");
}

void Dec::function(Env& e) {
  Env* outer = env;
  env = &e;
  const Function& f = *e.f;
  for (size_t i = 0; i < f.regs.size(); i++) {
    if (e.slot[i] >= 0) continue;
    int b = regbits(f.regs[i].ty);
    e.slot[i] = b == 1 ? (int)P.npred++ : (int)newreg(b);
  }
  for (size_t i = 0; i < f.vars.size(); i++) {
    const Var& v = f.vars[i];
    if (e.loc[i].kind || v.isreg >= 0) continue;
    if (v.space == Sp::Local || v.space == Sp::Param) {
      uint32_t al = std::max(v.align, 8u);
      P.local_bytes = (P.local_bytes + al - 1) / al * al;
      e.loc[i] = {2, P.local_bytes};
      P.local_bytes += (uint32_t)std::max<uint64_t>(v.size, 1);
    } else if (v.space == Sp::Shared) {
      if (v.size == 0) {
        e.loc[i] = {3, P.dyn_off};
        continue;
      }
      std::string key = f.name + "/" + v.name + "/" + std::to_string(i);
      auto it = shoff.find(key);
      if (it == shoff.end()) {
        uint32_t al = std::max(v.align, 16u), o = (P.static_shared + al - 1) / al * al;
        P.static_shared = o + (uint32_t)v.size + 128;
        sh_raw += (uint32_t)v.size;
        P.shvars.push_back({v.name, o, (uint32_t)v.size});
        it = shoff.emplace(key, o).first;
      }
      e.loc[i] = {3, it->second};
    } else if (v.space == Sp::Global || v.space == Sp::Const) {
      const Machine::Sym* g = M.symbol(e.mod, f.name + "/" + v.name);
      e.loc[i].kind = 4;
      e.gaddr[i] = g ? g->addr : 0;
    }
  }
  e.labelpc.assign(f.labelpos.size(), NOPC);
  std::multimap<int, int> at;
  for (size_t i = 0; i < f.labelpos.size(); i++) at.emplace(f.labelpos[i], (int)i);
  for (size_t i = 0; i <= f.body.size(); i++) {
    for (auto r = at.equal_range((int)i); r.first != r.second; ++r.first)
      e.labelpc[(size_t)r.first->second] = (uint32_t)P.code.size();
    if (i == f.body.size()) break;
    s = &f.body[i];
    stmt();
  }
  if (e.depth == 0) {  // falling off the end of an entry
    Inst I;
    I.ctl = C_EXIT;
    P.code.push_back(I);
    P.srcidx.push_back((int)P.src.size() - 1);
  }
  for (auto& x : e.fix) P.code[x.first].target = e.labelpc[(size_t)x.second];
  for (auto& x : e.vfix) P.vpool[x.first] = e.labelpc[(size_t)x.second];
  env = outer;
}

// ------------------------------------------------------------------ control flow: reconvergence points
static void analyse(Program& P) {
  const uint32_t n = (uint32_t)P.code.size();
  auto pure_exit = [&](uint32_t pc) { return pc < n && P.code[pc].ctl == C_EXIT && P.code[pc].guard < 0; };
  std::vector<char> lead(n + 1, 0);
  lead[0] = 1;
  for (uint32_t i = 0; i < n; i++) {
    Inst& I = P.code[i];
    if (I.ctl == C_BRA) {
      lead[I.target] = 1;
      lead[i + 1] = 1;
    } else if (I.ctl == C_BRX) {
      for (int k = 0; k < I.imm; k++) lead[P.vpool[I.vp + (uint32_t)k]] = 1;
      lead[i + 1] = 1;
    } else if (I.ctl == C_EXIT || I.ctl == C_TRAP)
      lead[i + 1] = 1;
  }
  std::vector<uint32_t> start, blk(n);
  for (uint32_t i = 0; i < n; i++) {
    if (lead[i]) start.push_back(i);
    blk[i] = (uint32_t)start.size() - 1;
  }
  const uint32_t nb = (uint32_t)start.size(), EX = nb;
  std::vector<std::vector<uint32_t>> succ(nb + 1), pre(nb + 1);
  auto edge = [&](uint32_t a, uint32_t pc) { succ[a].push_back(pc >= n || pure_exit(pc) ? EX : blk[pc]); };
  for (uint32_t b = 0; b < nb; b++) {
    uint32_t last = (b + 1 < nb ? start[b + 1] : n) - 1;
    const Inst& I = P.code[last];
    if (I.ctl == C_BRA) {
      edge(b, I.target);
      if (I.guard >= 0) edge(b, last + 1);
    } else if (I.ctl == C_BRX) {
      for (int k = 0; k < I.imm; k++) edge(b, P.vpool[I.vp + (uint32_t)k]);
      if (I.guard >= 0) edge(b, last + 1);
    } else if (I.ctl == C_EXIT || I.ctl == C_TRAP) {
      succ[b].push_back(EX);
      if (I.guard >= 0) edge(b, last + 1);
    } else
      edge(b, last + 1);
  }
  for (uint32_t b = 0; b < nb; b++)
    for (uint32_t t : succ[b]) pre[t].push_back(b);
  // post-order of the reversed graph from the exit
  std::vector<int> num(nb + 1, -1);
  std::vector<uint32_t> order;
  std::vector<std::pair<uint32_t, size_t>> st;
  std::vector<char> seen(nb + 1, 0);
  st.emplace_back(EX, 0);
  seen[EX] = 1;
  while (!st.empty()) {
    auto& t = st.back();
    if (t.second < pre[t.first].size()) {
      uint32_t q = pre[t.first][t.second++];
      if (!seen[q]) {
        seen[q] = 1;
        st.emplace_back(q, 0);
      }
    } else {
      num[t.first] = (int)order.size();
      order.push_back(t.first);
      st.pop_back();
    }
  }
  std::vector<int> idom(nb + 1, -1);
  idom[EX] = (int)EX;
  bool ch = true;
  while (ch) {
    ch = false;
    for (size_t k = order.size(); k-- > 0;) {
      uint32_t b = order[k];
      if (b == EX) continue;
      int nd = -1;
      for (uint32_t t : succ[b]) {
        if (num[t] < 0 || idom[t] < 0) continue;
        if (nd < 0) {
          nd = (int)t;
          continue;
        }
        int x = nd, y = (int)t;
        while (x != y) {
          while (num[x] < num[y]) x = idom[x];
          while (num[y] < num[x]) y = idom[y];
        }
        nd = x;
      }
      if (nd >= 0 && idom[b] != nd) {
        idom[b] = nd;
        ch = true;
      }
    }
  }
  for (uint32_t i = 0; i < n; i++)
    if (P.code[i].ctl == C_BRA || P.code[i].ctl == C_BRX) {
      int d = idom[blk[i]];
      P.code[i].rpc = d < 0 || d == (int)EX ? NOPC : start[(size_t)d];
    }
}

const Machine::Sym* Machine::symbol(const Module* m, const std::string& n) const {
  auto it = syms.find(m);
  if (it != syms.end()) {
    auto j = it->second.find(n);
    if (j != it->second.end()) return &j->second;
  }
  for (auto& k : syms) {
    auto j = k.second.find(n);
    if (j != k.second.end()) return &j->second;
  }
  return nullptr;
}

Program& Machine::program(const std::string& k) {
  auto it = progs.find(k);
  if (it != progs.end()) return *it->second;
  auto f = funcs.find(k);
  if (f == funcs.end() || !f->second.second->entry) throw Error("kernel", "no kernel named " + k);
  auto P = std::make_unique<Program>();
  const Function& F = *f->second.second;
  P->name = k;
  P->static_shared = SHARED_BASE_OFF;
  P->dyn_off = SHARED_BASE_OFF + 65536;
  Dec D(*this, *P, f->second.first);
  Dec::Env e;
  e.f = &F;
  e.mod = f->second.first;
  e.loc.resize(F.vars.size());
  e.gaddr.resize(F.vars.size());
  e.slot.assign(F.regs.size(), -1);
  uint32_t off = 0;
  for (int p : F.params) {
    const Var& v = F.vars[(size_t)p];
    uint32_t al = std::max(v.align, 1u);
    off = (off + al - 1) / al * al;
    e.loc[(size_t)p] = {1, off};
    P->info.params.push_back({v.name, off, (uint32_t)v.size, al});
    off += (uint32_t)v.size;
  }
  P->info.param_bytes = off;
  D.function(e);
  P->local_bytes = (P->local_bytes + 15) / 16 * 16;
  analyse(*P);
  for (auto& I : P->code)
    if (I.ctl == C_BRA && I.target >= P->code.size()) throw Error("parse", "branch past the end of " + k);
  P->info.name = k;
  P->info.static_shared = D.sh_raw;
  P->info.local_bytes = P->local_bytes;
  P->info.insts = (uint32_t)P->code.size();
  P->info.ptx_file = f->second.first->name;
  memcpy(P->info.reqntid, F.reqntid, sizeof F.reqntid);
  memcpy(P->info.maxntid, F.maxntid, sizeof F.maxntid);
  if (P->static_shared > P->dyn_off) throw Error("launch", k + ": more than 48 KiB of static shared memory");
  auto& r = *P;
  progs[k] = std::move(P);
  return r;
}

uint64_t Machine::alloc(size_t n, const std::string& name, Access a) {
  uint32_t need = (uint32_t)(n >> SLOT_SHIFT) + 1;
  uint32_t s = next_slot;
  for (uint32_t tries = 0;; tries++) {
    if (s + need + 1 > SLOT_LAST) s = SLOT_FIRST;
    bool ok = true;
    for (uint32_t i = 0; i < need; i++) ok &= slot[s + i] == nullptr;
    if (ok) break;
    s++;
    if (tries > SLOT_LAST) throw Error("memory", "too many device buffers");
  }
  next_slot = s + need;
  auto b = std::make_unique<Buffer>();
  b->name = name;
  b->access = a;
  b->base = (uint64_t)s << SLOT_SHIFT;
  b->size = n;
  b->own.reset(new uint8_t[n ? n : 1]);
  b->p = b->own.get();
  if (a == Access::Out) {
    memset(b->p, 0xCD, n);
    b->init.assign(n, 0);
  } else
    memset(b->p, 0, n);
  for (uint32_t i = 0; i < need; i++) slot[s + i] = b.get();
  uint64_t base = b->base;
  bufs[base] = std::move(b);
  return base;
}

void Machine::add_module(std::unique_ptr<Module> m) {
  const Module* mp = m.get();
  auto& tab = syms[mp];
  auto place = [&](const Var& v, const std::string& key) {
    if (v.space != Sp::Global && v.space != Sp::Const) return;
    if (v.ext && v.init.empty()) {
      if (symbol(nullptr, v.name)) return;
    }
    uint64_t a = alloc(v.size, v.name, Access::InOut);
    tab[key] = {a, (size_t)v.size};
  };
  for (auto& v : m->vars) place(v, v.name);
  for (auto& f : m->funcs)
    for (auto& v : f->vars) place(v, f->name + "/" + v.name);
  auto fill = [&](const Var& v, const std::string& key) {
    auto it = tab.find(key);
    if (it == tab.end()) return;
    Buffer* b = buffer_at(it->second.addr);
    for (auto& i : v.init) {
      uint64_t x = (uint64_t)i.val;
      if (i.sym) {
        const Sym* s2 = symbol(mp, i.name);
        if (!s2) continue;  // function pointers and the like: left zero
        x = (s2->addr + (uint64_t)i.val) >> i.shift;
      }
      if (i.off + i.bytes <= b->size) memcpy(b->p + i.off, &x, i.bytes);
    }
  };
  for (auto& v : m->vars) fill(v, v.name);
  for (auto& f : m->funcs)
    for (auto& v : f->vars) fill(v, f->name + "/" + v.name);
  for (auto& v : m->vars)
    if (v.space == Sp::Const && tab.count(v.name)) buffer_at(tab[v.name].addr)->access = Access::In;
  for (auto& f : m->funcs) {
    auto& q = funcs[f->name];
    if (!q.second || f->defined) {
      q = {mp, f.get()};
      progs.erase(f->name);
    }
  }
  mods.push_back(std::move(m));
}

// ------------------------------------------------------------------ execution
int Machine::new_join(Warp& w, uint32_t rpc, uint32_t expected, int parent) {
  Join j{rpc, expected, 0, parent};
  if (!w.free_joins.empty()) {
    int i = w.free_joins.back();
    w.free_joins.pop_back();
    w.joins[(size_t)i] = j;
    return i;
  }
  w.joins.push_back(j);
  return (int)w.joins.size() - 1;
}
void Machine::bind(Ctx& c, Program& P, Block& B, Warp& w) {
  c.base[0] = w.regs;
  c.base[1] = P.consts.data();
  c.pred = w.pred.data();
  c.w = &w;
  c.b = &B;
  c.M = this;
  c.P = &P;
  c.flag = false;
}
void Machine::exit_lanes(Block& B, Warp& w, int join, uint32_t lanes) {
  w.live &= ~lanes;
  B.live_threads -= (uint32_t)__builtin_popcount(lanes);
  while (join >= 0) {
    Join& j = w.joins[(size_t)join];
    j.expected &= ~lanes;
    int up = j.parent;
    if (j.expected == 0)
      w.free_joins.push_back(join);
    else if (j.arrived == j.expected) {
      w.groups.push_back({j.rpc, j.arrived, up, G_RUN, 0});
      w.free_joins.push_back(join);
      // the parents still lack these lanes; only their expectation shrinks
      for (int p = up; p >= 0; p = w.joins[(size_t)p].parent) w.joins[(size_t)p].expected &= ~lanes;
      return;
    }
    join = up;
  }
}
void Machine::bar_check(Program& P, Block& B, int id) {
  Bar& b = B.bar[id];
  if (!b.threads) return;
  if (b.expected ? b.rounded < b.expected : b.threads < B.live_threads) return;
  for (auto& w : B.warps) {
    bool rel = false;
    for (auto& g : w.groups)
      if (g.st == G_BAR && g.bar == (uint32_t)id) {
        const Inst& I = P.code[g.pc];
        if (I.sub >= 2) {
          if (I.sub == 2) {
            uint32_t* d = (uint32_t*)(w.regs + I.d);
            FOR_LANES(l, g.mask) d[l] = b.popc;
          } else {
            bool r = I.sub == 3 ? b.all : b.any;
            w.pred[I.d] = (w.pred[I.d] & ~g.mask) | (r ? g.mask : 0);
          }
        }
        g.st = G_RUN;
        g.pc++;
        rel = true;
      }
    if (rel && !w.vc.empty())
      for (size_t i = 0; i < w.vc.size(); i++)
        if ((int)i != w.id) w.vc[i] = std::max(w.vc[i], b.vc[i]);
  }
  failed_waits = 0;
  b = Bar();
}

bool Machine::wsync(Program& P, Warp& w, Group& g, const Inst& I, uint32_t m, Ctx& c) {
  const uint32_t* mk = I.e == NOPC ? nullptr : src<uint32_t>(c, I.e);
  auto ready = [&](uint32_t mm) {
    FOR_LANES(l, mm) if ((mk[l] & w.live) & ~mm) return false;
    return true;
  };
  auto exec = [&](uint32_t mm) {
    uint32_t rem = mm;
    while (rem) {
      uint32_t l0 = (uint32_t)__builtin_ctz(rem), set = 0;
      FOR_LANES(l, rem) if (mk[l] == mk[l0]) set |= 1u << l;
      if (set & ~mk[l0])
        find(c, __builtin_ctz(set & ~mk[l0]), "warp sync",
             "thread executes a .sync instruction whose member mask " + hex(mk[l0]) + " does not include it",
             "");
      I.fn(c, I, set);
      rem &= ~set;
    }
  };
  if (!mk) {
    if (m != w.live || m != w.all || m != FULL)
      fault(c, -1, "divergence",
            "instruction needs the whole warp converged, but runs for lanes " + hex(m) + " of " +
                hex(w.live) + (w.all != FULL || w.live != FULL ? " (the warp is not full)" : ""));
    I.fn(c, I, m);
    return true;
  }
  if (ready(m)) {
    exec(m);
    return true;
  }
  // wait for the missing lanes
  uint32_t uni = m;
  for (auto& h : w.groups)
    if (&h != &g && h.st == G_WSYNC && h.pc == g.pc) uni |= h.bar;
  (void)P;
  if (uni != m && ready(uni)) {
    exec(uni);
    for (auto& h : w.groups)
      if (h.st == G_WSYNC && h.pc == c.pc) {
        h.st = G_RUN;
        h.pc++;
      }
    return true;
  }
  return false;
}

void Machine::run_group(Program& P, Block& B, Warp& w, int gi, Ctx& c) {
  Group g = w.groups[(size_t)gi];
  const Inst* code = P.code.data();
  uint32_t rpc = g.join >= 0 ? w.joins[(size_t)g.join].rpc : NOPC;
  uint32_t budget = opt.quantum;
  const bool trace = opt.trace_block >= 0 && (uint64_t)opt.trace_block == B.lin &&
                     (opt.trace_warp < 0 || opt.trace_warp == w.id);
  auto save = [&] { w.groups[(size_t)gi] = g; };
  for (;;) {
    if (g.pc == rpc) {
      Join& j = w.joins[(size_t)g.join];
      j.arrived |= g.mask;
      if (j.arrived == j.expected) {
        g.mask = j.arrived;
        w.free_joins.push_back(g.join);
        g.join = j.parent;
        rpc = g.join >= 0 ? w.joins[(size_t)g.join].rpc : NOPC;
        continue;
      }
      g.st = G_DONE;
      save();
      return;
    }
    if (budget-- == 0) {
      save();
      return;
    }
    const Inst& I = code[g.pc];
    c.pc = g.pc;
    c.gmask = g.mask;
    seq++;
    uint32_t m = g.mask;
    if (I.guard >= 0) {
      uint32_t p = c.pred[I.guard];
      m &= I.gneg ? ~p : p;
    }
    tinsts += (uint64_t)__builtin_popcount(m);
    if (trace)
      fprintf(stderr, "[b%llu w%d] pc %u mask %08x %s\n", (unsigned long long)B.lin, w.id, g.pc, m,
              srcline(&P, g.pc).c_str());
    switch (I.ctl) {
      case C_ALU:
        if (m) I.fn(c, I, m);
        g.pc++;
        break;
      case C_BRA: {
        if (!m) {
          g.pc++;
          break;
        }
        if (m == g.mask) {
          g.pc = I.target;
          break;
        }
        uint32_t nt = g.mask & ~m;
        if (I.rpc != NOPC && I.rpc != rpc) {
          g.join = new_join(w, I.rpc, g.mask, g.join);
          rpc = I.rpc;
        }
        if (rpc != NOPC && g.pc + 1 == rpc)
          w.joins[(size_t)g.join].arrived |= nt;
        else
          w.groups.push_back({g.pc + 1, nt, g.join, G_RUN, 0});
        g.mask = m;
        g.pc = I.target;
        break;
      }
      case C_BRX: {
        const uint32_t* a = src<uint32_t>(c, I.a);
        if (!m) {
          g.pc++;
          break;
        }
        std::map<uint32_t, uint32_t> t;
        FOR_LANES(l, m) {
          if (a[l] >= (uint64_t)I.imm)
            fault(c, (int)l, "out of bounds", "branch table index " + std::to_string(a[l]));
          t[P.vpool[I.vp + a[l]]] |= 1u << l;
        }
        if (m != g.mask) t[g.pc + 1] |= g.mask & ~m;
        if (t.size() == 1) {
          g.pc = t.begin()->first;
          break;
        }
        if (I.rpc != NOPC && I.rpc != rpc) {
          g.join = new_join(w, I.rpc, g.mask, g.join);
          rpc = I.rpc;
        }
        bool first = true;
        for (auto& x : t) {
          if (first) {
            g.pc = x.first;
            g.mask = x.second;
            first = false;
          } else
            w.groups.push_back({x.first, x.second, g.join, G_RUN, 0});
        }
        break;
      }
      case C_EXIT: {
        if (!m) {
          g.pc++;
          break;
        }
        g.mask &= ~m;
        if (!g.mask)
          g.st = G_DONE;
        else
          g.pc++;
        save();
        exit_lanes(B, w, g.join, m);
        for (int i = 0; i < 16; i++) bar_check(P, B, i);
        if (!g.mask) return;
        // the join chain may have changed
        g = w.groups[(size_t)gi];
        rpc = g.join >= 0 ? w.joins[(size_t)g.join].rpc : NOPC;
        break;
      }
      case C_BAR: {
        if (!m) {
          g.pc++;
          break;
        }
        if (m != g.mask)
          fault(c, -1, "divergence",
                "barrier predicated differently within a warp (lanes " + hex(m) + " of " + hex(g.mask) + ")");
        int l0 = __builtin_ctz(m);
        uint32_t id = src<uint32_t>(c, I.a)[l0], cnt = I.b == NOPC ? 0 : src<uint32_t>(c, I.b)[l0];
        if (id > 15) fault(c, l0, "barrier", "barrier number " + std::to_string(id));
        if ((I.fl & 1) && m != w.live)
          fault(c, -1, "divergence",
                "barrier reached by lanes " + hex(m) + " only, while lanes " + hex(w.live) +
                    " of the warp are running");
        if (cnt && (cnt % W))
          fault(c, l0, "barrier",
                "thread count " + std::to_string(cnt) + " is not a multiple of the warp size");
        Bar& b = B.bar[id];
        if (b.threads && b.expected != cnt)
          fault(c, l0, "barrier",
                "barrier " + std::to_string(id) + " used with different thread counts at the same time");
        b.expected = cnt;
        b.threads += (uint32_t)__builtin_popcount(m);
        b.rounded += (I.fl & 1) ? W : (uint32_t)__builtin_popcount(m);
        if (I.sub >= 2) {
          uint32_t p = c.pred[I.c];
          if (I.fl & 2) p = ~p;
          b.popc += (uint32_t)__builtin_popcount(p & m);
          b.all &= (p & m) == m;
          b.any |= (p & m) != 0;
        }
        if (!w.vc.empty()) {
          if (b.vc.size() != w.vc.size()) b.vc.assign(w.vc.size(), 0);
          for (size_t i = 0; i < w.vc.size(); i++) b.vc[i] = std::max(b.vc[i], w.vc[i]);
          w.vc[(size_t)w.id]++;
        }
        if (I.sub == 1) {
          g.pc++;
          save();
          bar_check(P, B, (int)id);
          g = w.groups[(size_t)gi];
          break;
        }
        g.st = G_BAR;
        g.bar = id;
        save();
        bar_check(P, B, (int)id);
        if (w.groups[(size_t)gi].st != G_RUN) return;
        g = w.groups[(size_t)gi];
        break;
      }
      case C_WSYNC:
        if (!m) {
          g.pc++;
          break;
        }
        if (wsync(P, w, g, I, m, c)) {
          g.pc++;
          break;
        }
        g.st = G_WSYNC;
        g.bar = m;
        save();
        return;
      case C_TRYWAIT:
        if (!m) {
          g.pc++;
          break;
        }
        I.fn(c, I, m);
        g.pc++;
        if (!c.flag) {
          if (++failed_waits > 2000000)
            fault(c, -1, "deadlock", "waits on an mbarrier whose phase never completes");
          save();
          return;
        }
        failed_waits = 0;
        break;
      case C_YIELD:
        g.pc++;
        save();
        return;
      case C_TRAP:
        if (!m) {
          g.pc++;
          break;
        }
        fault(c, __builtin_ctz(m), "trap", "trap instruction executed");
    }
  }
}

bool Machine::run_block(Program& P, Block& B) {
  bool progress = false;
  Ctx c;
  std::vector<size_t> ord(B.warps.size());
  for (size_t i = 0; i < ord.size(); i++) ord[i] = i;
  if (opt.warp_order == Order::Reverse)
    std::reverse(ord.begin(), ord.end());
  else if (opt.warp_order == Order::Shuffle) {
    std::mt19937_64 r(opt.seed + B.lin * 7919 + seq);
    std::shuffle(ord.begin(), ord.end(), r);
  }
  bool all = true;
  for (size_t wi : ord) {
    Warp& w = B.warps[wi];
    if (!w.live) continue;
    bind(c, P, B, w);
    for (size_t i = 0; i < w.groups.size(); i++) {
      if (w.groups[i].st == G_RUN) {
        progress = true;
        run_group(P, B, w, (int)i, c);
      }
      if (w.groups.size() > 64) {  // drop finished groups, keep the place
        size_t k = 0, ni = 0;
        for (size_t j = 0; j < w.groups.size(); j++)
          if (w.groups[j].st != G_DONE) {
            w.groups[k] = w.groups[j];
            k++;
            if (j <= i) ni = k;
          }
        w.groups.resize(k);
        i = ni - 1;
      }
    }
    w.groups.erase(
        std::remove_if(w.groups.begin(), w.groups.end(), [](const Group& g) { return g.st == G_DONE; }),
        w.groups.end());
    if (w.live) all = false;
  }
  if (all) {
    B.done = true;
    uint32_t mx = clock0;
    for (auto& w : B.warps)
      if (!w.vc.empty()) mx = std::max(mx, w.vc[(size_t)w.id]);
    clock0 = std::max(clock0, mx + 1);
  }
  return progress;
}

void Machine::start_block(Program& P, Block& B, uint64_t lin) {
  B.lin = lin;
  B.id.x = (uint32_t)(lin % grid.x);
  B.id.y = (uint32_t)(lin / grid.x % grid.y);
  B.id.z = (uint32_t)(lin / ((uint64_t)grid.x * grid.y));
  B.done = false;
  B.live_threads = (uint32_t)bdim.count();
  B.acq_seq = 0;
  B.mbar.clear();
  B.sync.clear();
  for (auto& b : B.bar) b = Bar();
  const uint32_t nw = (B.live_threads + W - 1) / W;
  // shared memory
  B.sh.assign(shbytes, 0xCD);
  B.st.assign(shbytes, 4);
  for (auto& v : P.shvars) memset(&B.st[v.off], 0, v.size);
  if (dyn) memset(&B.st[P.dyn_off], 0, dyn);
  if (track_sh) {
    size_t g = shbytes / P.sh_gran + 2;
    if (B.wr.size() != g || B.warps.size() != nw) {
      B.wr.assign(g, {});
      B.rd.assign(g * nw, {});
    }
  }
  // registers
  const size_t rb = (P.reg_bytes + 127) / 128 * 128;
  if (!B.regmem || B.warps.size() != nw) {
    B.regmem.reset(new uint8_t[rb * nw + 64]);
    B.regal = (uint8_t*)(((uintptr_t)B.regmem.get() + 63) & ~(uintptr_t)63);
  }
  B.warps.resize(nw);
  memset(B.regal, 0, rb * nw);
  B.clock_base = clock0;
  for (uint32_t i = 0; i < nw; i++) {
    Warp& w = B.warps[i];
    w.id = (int)i;
    w.regs = B.regal + rb * i;
    w.pred.assign(P.npred + 1, 0);
    uint32_t n = std::min(B.live_threads - i * W, (uint32_t)W);
    w.all = w.live = n == W ? FULL : (1u << n) - 1;
    w.groups.assign(1, Group{0, w.live, -1, G_RUN, 0});
    w.joins.clear();
    w.free_joins.clear();
    w.async.clear();
    w.fvc.clear();
    memset(w.agroup, 0, sizeof w.agroup);
    w.cc[0] = 0;
    w.local.assign((size_t)P.local_bytes * W, 0xCD);
    if (track_sh || track_gl) {
      w.vc.assign(nw, clock0 - 1);
      w.vc[i] = clock0;
    } else
      w.vc.clear();
    for (auto& s : P.spec) {
      for (uint32_t l = 0; l < W; l++) {
        uint32_t t = i * W + l;
        uint64_t v = 0;
        switch (s.kind) {
          case S_TIDX: v = t % bdim.x; break;
          case S_TIDY: v = t / bdim.x % bdim.y; break;
          case S_TIDZ: v = t / (bdim.x * bdim.y); break;
          case S_NTIDX: v = bdim.x; break;
          case S_NTIDY: v = bdim.y; break;
          case S_NTIDZ: v = bdim.z; break;
          case S_CTAX: v = B.id.x; break;
          case S_CTAY: v = B.id.y; break;
          case S_CTAZ: v = B.id.z; break;
          case S_NCTAX: v = grid.x; break;
          case S_NCTAY: v = grid.y; break;
          case S_NCTAZ: v = grid.z; break;
          case S_LANE: v = l; break;
          case S_WARP: v = i; break;
          case S_NWARP: v = 64; break;
          case S_LMEQ: v = 1u << l; break;
          case S_LMLT: v = (1u << l) - 1; break;
          case S_LMLE: v = (2u << l) - 1; break;
          case S_LMGT: v = ~((2u << l) - 1); break;
          case S_LMGE: v = ~((1u << l) - 1); break;
          case S_ONE: v = 1; break;
          case S_SMID: v = lin % 132; break;
          case S_NSMID: v = 132; break;
          case S_GRIDID: v = launch_id; break;
          case S_DYNSM: v = dyn; break;
          case S_ENV1: v = gridws >> 32; break;
          case S_ENV2: v = gridws & 0xffffffffu; break;
          case S_TOTSM: v = dyn + P.info.static_shared; break;
          default: break;
        }
        if (s.bits == 64)
          ((uint64_t*)(w.regs + s.slot))[l] = v;
        else
          ((uint32_t*)(w.regs + s.slot))[l] = (uint32_t)v;
      }
    }
  }
}

std::string Machine::stuck(Program& P, const std::vector<std::unique_ptr<Block>>& bs) const {
  std::string r;
  int n = 0;
  for (auto& b : bs) {
    if (b->done) continue;
    for (auto& w : b->warps)
      for (auto& g : w.groups)
        if (n++ < 8)
          r += "\n  " + who(b.get(), w.id, -1) + ", lanes " + hex(g.mask) +
               (g.st == G_BAR     ? ": waits at barrier " + std::to_string(g.bar)
                : g.st == G_WSYNC ? ": waits for other lanes of its member mask"
                                  : ": running") +
               ", " + srcline(&P, g.pc);
  }
  return r;
}

Stats Machine::run(Program& P, Dim3 g, Dim3 b, uint32_t dynsh, const Args& args) {
  // processor time of this thread: does not depend on what else the machine runs
  auto now = [] {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
  };
  const double t0 = now();
  const std::string pre = "launch of " + P.name + ": ";
  if (!g.count() || !b.count()) throw Error("launch", pre + "empty grid or block");
  if (b.count() > 1024 || b.x > 1024 || b.y > 1024 || b.z > 64)
    throw Error("launch", pre + "block too large");
  if (g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535) throw Error("launch", pre + "grid too large");
  if (P.info.reqntid[0] && (P.info.reqntid[0] != b.x || P.info.reqntid[1] != b.y || P.info.reqntid[2] != b.z))
    throw Error("launch", pre + "block differs from .reqntid");
  if (P.info.maxntid[0] && b.count() > (uint64_t)P.info.maxntid[0] * P.info.maxntid[1] * P.info.maxntid[2])
    throw Error("launch", pre + std::to_string(b.count()) + " threads exceed .maxntid (launch bounds)");
  if (P.info.static_shared > 48 * 1024) throw Error("launch", pre + "static shared memory above 48 KiB");
  if (dynsh + P.info.static_shared > opt.smem_limit)
    throw Error("launch", pre + "shared memory " + std::to_string(dynsh + P.info.static_shared) +
                              " exceeds the limit " + std::to_string(opt.smem_limit));
  if (args.vals.size() != P.info.params.size())
    throw Error("launch", pre + std::to_string(args.vals.size()) + " arguments for " +
                              std::to_string(P.info.params.size()) + " parameters");
  params.assign(P.info.param_bytes, 0);
  for (size_t i = 0; i < args.vals.size(); i++) {
    auto& pi = P.info.params[i];
    if (args.vals[i].size() != pi.size)
      throw Error("launch", pre + "argument " + std::to_string(i) + " has " +
                                std::to_string(args.vals[i].size()) + " bytes, parameter " + pi.name +
                                " has " + std::to_string(pi.size));
    memcpy(&params[pi.offset], args.vals[i].data(), pi.size);
  }
  grid = g;
  bdim = b;
  dyn = dynsh;
  shbytes = dyn ? P.dyn_off + dyn : P.static_shared;
  track_sh = opt.race_shared && P.uses_shared;
  track_gl = opt.race_global;
  launch_id++;
  for (auto& s : P.spec)
    if (s.kind == S_ENV1 || s.kind == S_ENV2) {
      if (!gridws) gridws = alloc(64, "grid workspace", Access::InOut);
      memset(buffer_at(gridws)->p, 0, 64);
    }
  if (clock0 > 0xf0000000u) {
    clock0 = 1;
  }
  rel_seq.assign(g.count(), 0);
  failed_waits = 0;
  const uint64_t n = g.count(), s0 = seq, ti0 = tinsts, mm0 = mmas;
  std::vector<uint32_t> order;
  if (opt.block_order == Order::Shuffle) {
    order.resize(n);
    for (uint64_t i = 0; i < n; i++) order[i] = (uint32_t)i;
    std::mt19937_64 r(opt.seed);
    std::shuffle(order.begin(), order.end(), r);
  }
  auto nth = [&](uint64_t i) {
    return opt.block_order == Order::Forward   ? i
           : opt.block_order == Order::Reverse ? n - 1 - i
                                               : (uint64_t)order[i];
  };
  uint64_t res = opt.resident_blocks ? std::min<uint64_t>(opt.resident_blocks, n) : n;
  std::vector<std::unique_ptr<Block>> bs;
  for (uint64_t i = 0; i < res; i++) bs.push_back(std::make_unique<Block>());
  uint64_t next = 0, done = 0;
  while (done < n) {
    bool prog = false;
    for (auto& B : bs) {
      if (B->done) {
        if (next >= n) continue;
        start_block(P, *B, nth(next++));
        prog = true;
      }
      do {
        bool p = run_block(P, *B);
        prog |= p;
        if (!p && res == 1) break;
        if (seq - s0 > opt.max_warp_insts)
          throw Error("runaway", pre + "more than " + std::to_string(opt.max_warp_insts) +
                                     " warp instructions (endless loop?)" + stuck(P, bs));
      } while (res == 1 && !B->done);
      if (B->done) done++;
    }
    if (!prog && done < n)
      throw Error("deadlock", "deadlock: kernel " + P.name + ": no thread can run" + stuck(P, bs));
  }
  Stats st;
  st.blocks = n;
  st.warp_insts = seq - s0;
  st.thread_insts = tinsts - ti0;
  st.mma = mmas - mm0;
  st.seconds = now() - t0;
  return st;
}

// ------------------------------------------------------------------ Runtime
Runtime::Runtime(const Options& o) : m_(new Machine(o)) {}
Runtime::~Runtime() = default;
Options& Runtime::options() { return m_->opt; }
void Runtime::load_text(const std::string& text, const std::string& name) {
  m_->add_module(parse_ptx(text, name));
}
void Runtime::load_file(const std::string& path) {
  std::ifstream f(path, std::ios::binary);
  if (!f) throw Error("file", "cannot read " + path);
  std::stringstream s;
  s << f.rdbuf();
  load_text(s.str(), path);
}
std::vector<std::string> Runtime::kernels() const {
  std::vector<std::string> r;
  for (auto& f : m_->funcs)
    if (f.second.second->entry) r.push_back(f.first);
  return r;
}
std::string Runtime::find_kernel(const std::string& n) const {
  std::string hit;
  int k = 0;
  for (auto& f : m_->funcs) {
    if (!f.second.second->entry) continue;
    if (f.first == n) return n;
    if (f.first.find(n) != std::string::npos) {
      hit = f.first;
      k++;
    }
  }
  if (k == 1) return hit;
  throw Error("kernel", k ? "kernel name '" + n + "' is ambiguous" : "no kernel named '" + n + "'");
}
KernelInfo Runtime::info(const std::string& k) { return m_->program(find_kernel(k)).info; }
uint64_t Runtime::alloc(size_t n, const std::string& name, Access a) { return m_->alloc(n, name, a); }
void Runtime::release(uint64_t a) {
  auto it = m_->bufs.find(a);
  if (it == m_->bufs.end()) throw Error("memory", "release of an address that is not a buffer start");
  for (uint64_t i = 0; i <= it->second->size >> SLOT_SHIFT; i++) m_->slot[(a >> SLOT_SHIFT) + i] = nullptr;
  m_->bufs.erase(it);
}
static Buffer* range(const Machine& m, uint64_t a, size_t n) {
  Buffer* b = m.buffer_at(a);
  if (!b || a + n > b->base + b->size)
    throw Error("memory",
                "host copy of " + std::to_string(n) + " bytes outside device memory at " + m.describe(a));
  return b;
}
void Runtime::upload(uint64_t a, const void* s, size_t n) {
  if (!n) return;
  Buffer* b = range(*m_, a, n);
  memcpy(b->p + (a - b->base), s, n);
  if (!b->init.empty()) memset(&b->init[a - b->base], 1, n);
}
void Runtime::download(void* d, uint64_t a, size_t n) const {
  if (!n) return;
  Buffer* b = range(*m_, a, n);
  memcpy(d, b->p + (a - b->base), n);
}
void Runtime::fill(uint64_t a, uint8_t v, size_t n) {
  if (!n) return;
  Buffer* b = range(*m_, a, n);
  memset(b->p + (a - b->base), v, n);
  if (!b->init.empty()) memset(&b->init[a - b->base], 1, n);
}
bool Runtime::is_device(uint64_t a) const {
  return (a >> SLOT_SHIFT) <= SLOT_LAST && m_->slot[a >> SLOT_SHIFT];
}
void Runtime::map_host(void* p, size_t n, const std::string& name) {
  auto b = std::make_unique<Buffer>();
  b->name = name;
  b->base = (uint64_t)(uintptr_t)p;
  b->p = (uint8_t*)p;
  b->size = n;
  m_->hosts[b->base] = std::move(b);
}
void Runtime::unmap_host(void* p) { m_->hosts.erase((uint64_t)(uintptr_t)p); }
uint64_t Runtime::symbol(const std::string& n, size_t* bytes) {
  const Machine::Sym* s = m_->symbol(nullptr, n);
  if (!s) return 0;
  if (bytes) *bytes = s->size;
  return s->addr;
}
Stats Runtime::launch(const std::string& k, Dim3 g, Dim3 b, uint32_t dyn, const Args& a) {
  return m_->run(m_->program(find_kernel(k)), g, b, dyn, a);
}
const std::vector<Finding>& Runtime::findings() const { return m_->finds; }
void Runtime::clear_findings() {
  m_->finds.clear();
  m_->findidx.clear();
}
std::string Runtime::report() const {
  std::string r;
  for (auto& f : m_->finds)
    r += f.message + (f.count > 1 ? " (" + std::to_string(f.count) + " times)" : "") + "\n";
  return r;
}

}  // namespace ptxrun
