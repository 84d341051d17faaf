// Loads, stores, atomics, asynchronous copies, mbarriers, fences.
#include <algorithm>

#include "machine.h"

namespace ptxrun {
namespace {

enum { FL_A32 = 1, FL_STRONG = 2, FL_CONSTADDR = 4 };

inline uint64_t address(const Ctx& c, const Inst& I, uint32_t a, bool a32, uint32_t l, int64_t imm) {
  (void)I;
  return a32 ? (uint64_t)(uint32_t)(src<uint32_t>(c, a)[l] + (uint32_t)imm)
             : src<uint64_t>(c, a)[l] + (uint64_t)imm;
}

// Checks an access and returns the bytes.  val: bytes about to be stored.
uint8_t* resolve(Ctx& c, int l, Sp sp, uint64_t a, uint32_t n, bool wr, bool atomic, const uint8_t* val) {
  Machine& M = *c.M;
  if (a & (n - 1))
    M.fault(c, l, "misaligned",
            (wr ? "store to " : "load from ") + M.describe(a) +
                ": address is not a multiple of the access size " + std::to_string(n));
  if (sp == Sp::Generic) {
    if (a >= SHARED_WIN && a < SHARED_WIN + WIN_SIZE) {
      sp = Sp::Shared;
      a -= SHARED_WIN;
    } else if (a >= LOCAL_WIN && a < LOCAL_WIN + WIN_SIZE) {
      sp = Sp::Local;
      a -= LOCAL_WIN;
    } else if (a >= PARAM_WIN && a < PARAM_WIN + WIN_SIZE) {
      sp = Sp::Param;
      a -= PARAM_WIN;
    } else
      sp = Sp::Global;
  }
  switch (sp) {
    case Sp::Shared:
      M.scheck(c, l, a, n, wr, !wr || atomic);
      if (M.track_sh) M.snote(c, l, (uint32_t)a, n, wr, atomic, val);
      if (wr)
        for (uint32_t i = 0; i < n; i++) c.b->st[a + i] |= 1;
      return c.b->sh.data() + a;
    case Sp::Local:
      if (a + n > c.P->local_bytes)
        M.fault(c, l, "out of bounds",
                "local memory offset " + std::to_string(a) + " of " + std::to_string(c.P->local_bytes));
      return c.w->local.data() + (size_t)l * c.P->local_bytes + a;
    case Sp::Param:
      if (wr) M.fault(c, l, "address", "store to parameter space");
      if (a + n > M.params.size())
        M.fault(c, l, "out of bounds",
                "parameter offset " + std::to_string(a) + " of " + std::to_string(M.params.size()));
      return M.params.data() + a;
    default: {
      Buffer* b = M.gcheck(c, l, a, n, wr);
      uint64_t off = a - b->base;
      if ((!wr || atomic) && !b->init.empty() && M.opt.init_global) {
        for (uint32_t i = 0; i < n; i++)
          if (!b->init[off + i]) {
            M.find(c, l, "uninitialised", "reads global memory that was never written: " + M.describe(a), "");
            break;
          }
      }
      if (M.track_gl && b->access != Access::In) M.gnote(c, b, l, off, n, wr, atomic, val);
      if (wr && !b->init.empty()) memset(&b->init[off], 1, n);
      return b->p + off;
    }
  }
}

void ex_ldparam(Ctx& c, const Inst& I, uint32_t m) {  // entry parameter at a constant offset
  const uint32_t* v = &c.P->vpool[I.vp];
  for (int k = 0; k < I.nv; k++) {
    if (v[k] == NOPC) continue;
    const uint8_t* p = c.M->params.data() + I.imm + k * I.sz;
    uint64_t x = 0;
    memcpy(&x, p, std::min<int>(I.sz, 8));
    if (ty_signed((Ty)I.ty)) {
      int sh = 64 - 8 * I.sz;
      x = (uint64_t)((int64_t)(x << sh) >> sh);
    }
    if (I.nv2 == 2) {
      auto* d = dst<uint64_t>(c, v[k]);
      FOR_LANES(l, m) d[l] = x;
    } else {
      auto* d = dst<uint32_t>(c, v[k]);
      uint32_t y = I.sz == 2 ? (uint32_t)(x & 0xffff) : (uint32_t)x;
      FOR_LANES(l, m) d[l] = y;
    }
  }
}
void ex_ld(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];
  const uint32_t n = (uint32_t)I.sz * I.nv;
  const bool sg = ty_signed((Ty)I.ty), a32 = I.fl & FL_A32, strong = I.fl & FL_STRONG;
  FOR_LANES(l, m) {
    const uint8_t* p =
        resolve(c, (int)l, (Sp)I.sp, address(c, I, I.a, a32, l, I.imm), n, false, strong, nullptr);
    for (int k = 0; k < I.nv; k++, p += I.sz) {
      if (v[k] == NOPC) continue;
      if (I.nv2 == 4) {
        memcpy(dst<uint8_t>(c, v[k]) + 16 * l, p, 16);
        continue;
      }
      uint64_t x;
      switch (I.sz) {
        case 1: x = sg ? (uint64_t)(int64_t)(int8_t)*p : *p; break;
        case 2: {
          uint16_t t;
          memcpy(&t, p, 2);
          x = sg ? (uint64_t)(int64_t)(int16_t)t : t;
          break;
        }
        case 4: {
          uint32_t t;
          memcpy(&t, p, 4);
          x = sg ? (uint64_t)(int64_t)(int32_t)t : t;
          break;
        }
        default: memcpy(&x, p, 8);
      }
      if (I.nv2 == 2)
        dst<uint64_t>(c, v[k])[l] = x;
      else
        dst<uint32_t>(c, v[k])[l] = I.sub ? (uint32_t)(x & 0xffff) : (uint32_t)x;
    }
  }
  if (strong && c.P->uses_fence) FOR_LANES(l, m) c.M->acquire(c, address(c, I, I.a, a32, l, I.imm));
}
void ex_st(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];
  const uint32_t n = (uint32_t)I.sz * I.nv;
  const bool a32 = I.fl & FL_A32, strong = I.fl & FL_STRONG;
  if (I.sub) c.M->release(c, I.sub == 1);
  FOR_LANES(l, m) {
    uint8_t t[64];
    for (int k = 0; k < I.nv; k++) {
      uint32_t o = v[k];
      if (I.nv2 == 4)
        memcpy(t + 16 * k, src<uint8_t>(c, o) + 16 * l, 16);
      else if (I.nv2 == 2)
        memcpy(t + I.sz * k, src<uint64_t>(c, o) + l, I.sz);
      else
        memcpy(t + I.sz * k, src<uint32_t>(c, o) + l, I.sz);
    }
    const uint64_t a = address(c, I, I.a, a32, l, I.imm);
    uint8_t* p = resolve(c, (int)l, (Sp)I.sp, a, n, true, strong, t);
    memcpy(p, t, n);
    if (strong && c.P->uses_fence) c.M->publish(c, a);
  }
}

// ---- atomics
enum { AT_ADD, AT_MIN, AT_MAX, AT_AND, AT_OR, AT_XOR, AT_EXCH, AT_CAS, AT_INC, AT_DEC };
template <class T>
T at_int(int op, T o, T b, T cc) {
  switch (op) {
    case AT_ADD: return (T)((uint64_t)o + (uint64_t)b);
    case AT_MIN: return std::min(o, b);
    case AT_MAX: return std::max(o, b);
    case AT_AND: return o & b;
    case AT_OR: return o | b;
    case AT_XOR: return o ^ b;
    case AT_EXCH: return b;
    case AT_CAS: return o == b ? cc : o;
    case AT_INC: return o >= b ? 0 : o + 1;
    default: return o == 0 || o > b ? b : o - 1;
  }
}
double at_flt(int op, double o, double b) {
  return op == AT_ADD   ? o + b
         : op == AT_MIN ? (std::isnan(o)   ? b
                           : std::isnan(b) ? o
                                           : std::min(o, b))
                        : (std::isnan(o)   ? b
                           : std::isnan(b) ? o
                                           : std::max(o, b));
}
uint64_t at_one(Ty t, int op, uint64_t o, uint64_t b, uint64_t cc) {
  switch (t) {
    case T_U32:
    case T_B32: return at_int<uint32_t>(op, (uint32_t)o, (uint32_t)b, (uint32_t)cc);
    case T_S32: return (uint32_t)at_int<int32_t>(op, (int32_t)o, (int32_t)b, (int32_t)cc);
    case T_U64:
    case T_B64: return at_int<uint64_t>(op, o, b, cc);
    case T_S64: return (uint64_t)at_int<int64_t>(op, (int64_t)o, (int64_t)b, (int64_t)cc);
    case T_B16:
    case T_U16: return at_int<uint16_t>(op, (uint16_t)o, (uint16_t)b, (uint16_t)cc);
    case T_F32:
      return op == AT_ADD ? b32(f32((uint32_t)o) + f32((uint32_t)b))
                          : b32((float)at_flt(op, f32((uint32_t)o), f32((uint32_t)b)));
    case T_F64: return b64(at_flt(op, f64(o), f64(b)));
    case T_F16: return f2h(at_flt(op, h2f((uint32_t)o), h2f((uint32_t)b)));
    case T_BF16: return f2bf((float)at_flt(op, bf2f((uint32_t)o), bf2f((uint32_t)b)));
    case T_F16X2:
      return f2h(at_flt(op, h2f((uint32_t)o), h2f((uint32_t)b))) |
             f2h(at_flt(op, h2f((uint32_t)o >> 16), h2f((uint32_t)b >> 16))) << 16;
    case T_BF16X2:
      return f2bf((float)at_flt(op, bf2f((uint32_t)o), bf2f((uint32_t)b))) |
             f2bf((float)at_flt(op, bf2f((uint32_t)o >> 16), bf2f((uint32_t)b >> 16))) << 16;
    default: return 0;
  }
}
void ex_atom(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];  // nv sources, then nv destinations (or NOPC)
  const uint32_t n = (uint32_t)I.sz * I.nv;
  c.b->acq_seq = c.M->seq;
  const bool sync = c.P->uses_fence;
  if (I.ty2) c.M->release(c, I.ty2 == 1);
  FOR_LANES(l, m) {
    uint64_t a = address(c, I, I.a, I.fl & FL_A32, l, I.imm);
    if (sync) {
      c.M->publish(c, a);
      c.M->acquire(c, a);
    }
    uint8_t* p = resolve(c, (int)l, (Sp)I.sp, a, n, true, true, nullptr);
    for (int k = 0; k < I.nv; k++, p += I.sz) {
      uint64_t o = 0, b, cc = 0;
      memcpy(&o, p, I.sz);
      b = I.sz == 8 ? src<uint64_t>(c, v[k])[l] : src<uint32_t>(c, v[k])[l];
      if (I.sub == AT_CAS) cc = I.sz == 8 ? src<uint64_t>(c, I.c)[l] : src<uint32_t>(c, I.c)[l];
      uint64_t r = at_one((Ty)I.ty, I.sub, o, b, cc);
      memcpy(p, &r, I.sz);
      uint32_t d = v[I.nv + k];
      if (d != NOPC) {
        if (I.sz == 8)
          dst<uint64_t>(c, d)[l] = o;
        else
          dst<uint32_t>(c, d)[l] = (uint32_t)o;
      }
    }
  }
}
void ex_fence(Ctx& c, const Inst& I, uint32_t) { c.M->release(c, I.sub == 1); }

// ---- cp.async
void ex_cpasync(
    Ctx& c, const Inst& I,
    uint32_t m) {  // a dst(A32 flag) b src; c: source size or predicate; sub 0 none 1 size 2 ignore-src pred
  Machine& M = *c.M;
  const uint32_t n = I.sz;
  FOR_LANES(l, m) {
    uint64_t d = address(c, I, I.a, I.fl & FL_A32, l, I.imm);
    if (d >= SHARED_WIN && d < SHARED_WIN + WIN_SIZE) d -= SHARED_WIN;
    uint64_t s = address(c, I, I.b, false, l, (int64_t)I.e);
    uint32_t k = n;
    if (I.sub == 1)
      k = src<uint32_t>(c, I.c)[l];
    else if (I.sub == 2)
      k = (((c.pred[I.c] >> l) & 1) != (uint32_t)I.nv) ? 0 : n;
    if (k > n)
      M.fault(c, (int)l, "cp.async",
              "source size " + std::to_string(k) + " is larger than the copy size " + std::to_string(n));
    AsyncOp op;
    memset(op.data, 0, sizeof op.data);
    if (s & (n - 1))
      M.fault(c, (int)l, "misaligned",
              "cp.async source " + M.describe(s) + " is not a multiple of " + std::to_string(n));
    if (d & (n - 1))
      M.fault(
          c, (int)l, "misaligned",
          "cp.async destination shared+" + std::to_string(d) + " is not a multiple of " + std::to_string(n));
    if (k) {
      Buffer* b = M.gcheck(c, (int)l, s, k, false);
      if (!b->init.empty() && M.opt.init_global)
        for (uint32_t i = 0; i < k; i++)
          if (!b->init[s - b->base + i]) {
            M.find(c, (int)l, "uninitialised",
                   "cp.async reads global memory that was never written: " + M.describe(s), "");
            break;
          }
      if (M.track_gl && b->access != Access::In) M.gnote(c, b, (int)l, s - b->base, k, false, false, nullptr);
      memcpy(op.data, b->p + (s - b->base), k);
    }
    M.scheck(c, (int)l, d, n, true, false);
    if (M.track_sh) M.snote(c, (int)l, (uint32_t)d, n, true, false, nullptr);
    for (uint32_t i = 0; i < n; i++) c.b->st[d + i] |= 2;
    op.lane = (uint8_t)l;
    op.size = (uint8_t)n;
    op.dst = (uint32_t)d;
    op.group = c.w->agroup[l];
    c.w->async.push_back(op);
  }
}
void ex_commit(Ctx& c, const Inst&, uint32_t m) { FOR_LANES(l, m) c.w->agroup[l]++; }
void ex_wait(Ctx& c, const Inst& I, uint32_t m) { c.M->async_complete(c, m, (uint32_t)I.imm, I.sub); }

// ---- mbarrier
uint32_t mb_off(Ctx& c, int l, const Inst& I, uint32_t a, bool a32, int64_t imm) {
  uint64_t x = address(c, I, a, a32, (uint32_t)l, imm);
  if (x >= SHARED_WIN && x < SHARED_WIN + WIN_SIZE) x -= SHARED_WIN;
  if (x & 7) c.M->fault(c, l, "misaligned", "mbarrier object at shared+" + std::to_string(x));
  c.M->scheck(c, l, x, 8, true, false);
  return (uint32_t)x;
}
MBar& mb_get(Ctx& c, int l, uint32_t off) {
  auto it = c.b->mbar.find(off);
  if (it == c.b->mbar.end() || !it->second.valid)
    c.M->fault(c, l, "mbarrier", "object at shared+" + std::to_string(off) + " was not initialised");
  return it->second;
}
void mb_acquire(Ctx& c, MBar& b, int l, uint32_t off) {
  (void)l;
  (void)off;
  auto& vc = c.w->vc;
  if (!vc.empty() && !b.donevc.empty())
    for (size_t i = 0; i < vc.size(); i++)
      if ((int)i != c.w->id) vc[i] = std::max(vc[i], b.donevc[i]);
  if (!vc.empty()) vc[c.w->id]++;
  for (auto& r : b.bulkdone)
    for (uint32_t i = 0; i < r.second; i++) {
      c.b->st[r.first + i] &= (uint8_t)~2;
      c.b->st[r.first + i] |= 1;
    }
  b.bulkdone.clear();
}
void mb_check(Ctx& c, MBar& b) {
  (void)c;
  if (b.pending == 0 && b.tx == 0) {
    b.phase++;
    b.pending = b.expected;
    b.donevc = b.vc;
    b.bulkdone.insert(b.bulkdone.end(), b.bulk.begin(), b.bulk.end());
    b.bulk.clear();
  }
}
void mb_release(Ctx& c, MBar& b) {
  auto& vc = c.w->vc;
  if (vc.empty()) return;
  if (b.vc.size() != vc.size()) b.vc.assign(vc.size(), 0);
  for (size_t i = 0; i < vc.size(); i++) b.vc[i] = std::max(b.vc[i], vc[i]);
  vc[c.w->id]++;
}
enum {
  MB_INIT,
  MB_INVAL,
  MB_ARRIVE,
  MB_EXPECT,
  MB_COMPLETE,
  MB_ARRIVE_EXPECT,
  MB_TEST,
  MB_TEST_PARITY,
  MB_CPASYNC,
  MB_CPASYNC_NOINC,
  MB_DROP
};
void ex_mbar(Ctx& c, const Inst& I, uint32_t m) {
  uint32_t pr = 0;
  FOR_LANES(li, m) {
    int l = (int)li;
    uint32_t off = mb_off(c, l, I, I.a, I.fl & FL_A32, I.imm);
    uint32_t v = I.b == NOPC ? 1 : src<uint32_t>(c, I.b)[l];
    if (I.sub == MB_INIT) {
      MBar& b = c.b->mbar[off];
      b = MBar();
      b.valid = true;
      b.expected = b.pending = v;
      if (!v) c.M->fault(c, l, "mbarrier", "initialised with count 0");
      for (int i = 0; i < 8; i++) c.b->st[off + i] |= 1;
      continue;
    }
    MBar& b = mb_get(c, l, off);
    switch (I.sub) {
      case MB_INVAL: b.valid = false; break;
      case MB_ARRIVE:
      case MB_DROP:
      case MB_ARRIVE_EXPECT: {
        if (I.sub == MB_ARRIVE_EXPECT) {
          b.tx += v;
          v = 1;
        }
        if (v > b.pending)
          c.M->fault(c, l, "mbarrier", "more arrivals than the expected count " + std::to_string(b.expected));
        if (I.d != NOPC) dst<uint64_t>(c, I.d)[l] = b.phase;
        mb_release(c, b);
        b.pending -= v;
        if (I.sub == MB_DROP) b.expected -= 1;
        mb_check(c, b);
        break;
      }
      case MB_EXPECT: b.tx += v; break;
      case MB_COMPLETE:
        b.tx -= v;
        mb_check(c, b);
        break;
      case MB_CPASYNC:
      case MB_CPASYNC_NOINC:
        c.M->async_complete(c, 1u << l, 0, true);
        mb_release(c, b);
        if (I.sub == MB_CPASYNC_NOINC) {
          if (!b.pending) c.M->fault(c, l, "mbarrier", "more arrivals than the expected count");
          b.pending--;
          mb_check(c, b);
        }
        break;
      case MB_TEST: {
        bool ok = b.phase > src<uint64_t>(c, I.b)[l];
        if (ok) {
          pr |= 1u << l;
          mb_acquire(c, b, l, off);
        }
        break;
      }
      case MB_TEST_PARITY: {
        bool ok = (b.phase & 1) != (v & 1);
        if (ok) {
          pr |= 1u << l;
          mb_acquire(c, b, l, off);
        }
        break;
      }
    }
  }
  if (I.sub == MB_TEST || I.sub == MB_TEST_PARITY) {
    c.pred[I.d] = (c.pred[I.d] & ~m) | (pr & m);
    c.flag = (pr & m) == m;
  }
}
// cp.async.bulk, one-dimensional.  sub 0: global -> shared with mbarrier; 1: shared -> global (bulk group); a
// dst, b src, c size, e mbarrier
void ex_bulk(Ctx& c, const Inst& I, uint32_t m) {
  Machine& M = *c.M;
  FOR_LANES(li, m) {
    int l = (int)li;
    uint32_t n = src<uint32_t>(c, I.c)[l];
    if (!n || (n & 15))
      M.fault(c, l, "cp.async.bulk", "size " + std::to_string(n) + " is not a positive multiple of 16");
    uint64_t d = address(c, I, I.a, I.fl & FL_A32, li, 0), s = address(c, I, I.b, I.fl & 8, li, 0);
    if ((d | s) & 15) M.fault(c, l, "misaligned", "cp.async.bulk addresses must be multiples of 16");
    auto sh = [](uint64_t x) { return x >= SHARED_WIN && x < SHARED_WIN + WIN_SIZE ? x - SHARED_WIN : x; };
    if (I.sub == 0) {
      d = sh(d);
      Buffer* b = M.gcheck(c, l, s, n, false);
      M.scheck(c, l, d, n, true, false);
      if (M.track_sh) M.snote(c, l, (uint32_t)d, n, true, false, nullptr);
      memcpy(c.b->sh.data() + d, b->p + (s - b->base), n);
      for (uint32_t i = 0; i < n; i++) c.b->st[d + i] |= 2;
      uint32_t off = mb_off(c, l, I, I.e, I.fl & 16, 0);
      MBar& mb = mb_get(c, l, off);
      mb_release(c, mb);
      mb.bulk.emplace_back((uint32_t)d, n);
      mb.tx -= n;
      mb_check(c, mb);
    } else {
      s = sh(s);
      Buffer* b = M.gcheck(c, l, d, n, true);
      M.scheck(c, l, s, n, false, true);
      if (M.track_sh) M.snote(c, l, (uint32_t)s, n, false, false, nullptr);
      memcpy(b->p + (d - b->base), c.b->sh.data() + s, n);
      if (!b->init.empty()) memset(&b->init[d - b->base], 1, n);
    }
  }
}
// ---- tensor maps
struct TMap {
  uint64_t magic, addr;
  uint8_t rank, dtype, es, swizzle, oob, pad[3];
  uint32_t dim[5];
  uint16_t box[5];
  uint16_t pad2;
  uint64_t stride[5];  // bytes; stride[0] = es
};
static_assert(sizeof(TMap) <= 128, "tensor map size");
constexpr uint64_t TMAGIC = 0x70747872756e544dull;
void add_el(uint8_t dtype, uint8_t* p, const uint8_t* q) {  // reduction
  switch (dtype) {
    case 7: {
      float a, b;
      memcpy(&a, p, 4);
      memcpy(&b, q, 4);
      a += b;
      memcpy(p, &a, 4);
      break;
    }
    case 8: {
      double a, b;
      memcpy(&a, p, 8);
      memcpy(&b, q, 8);
      a += b;
      memcpy(p, &a, 8);
      break;
    }
    case 6: {
      uint16_t a, b;
      memcpy(&a, p, 2);
      memcpy(&b, q, 2);
      a = (uint16_t)f2h((double)h2f(a) + h2f(b));
      memcpy(p, &a, 2);
      break;
    }
    case 9: {
      uint16_t a, b;
      memcpy(&a, p, 2);
      memcpy(&b, q, 2);
      a = (uint16_t)f2bf(bf2f(a) + bf2f(b));
      memcpy(p, &a, 2);
      break;
    }
    case 4:
    case 5: {
      uint64_t a, b;
      memcpy(&a, p, 8);
      memcpy(&b, q, 8);
      a += b;
      memcpy(p, &a, 8);
      break;
    }
    default: {
      uint32_t a, b;
      memcpy(&a, p, 4);
      memcpy(&b, q, 4);
      a += b;
      memcpy(p, &a, 4);
    }
  }
}
// sub 0: global -> shared with mbarrier (d dst, e mbar); 1: shared -> global; 2: reduce add into global.  a
// map, b shared side, nv rank, vpool coordinates
void ex_tensor(Ctx& c, const Inst& I, uint32_t m) {
  Machine& M = *c.M;
  const uint32_t* v = &c.P->vpool[I.vp];
  FOR_LANES(li, m) {
    int l = (int)li;
    uint64_t ma = src<uint64_t>(c, I.a)[l] + (uint64_t)I.imm;
    TMap t;
    const uint8_t* mp;
    if (ma >= PARAM_WIN && ma < PARAM_WIN + WIN_SIZE) {
      if (ma - PARAM_WIN + 128 > M.params.size())
        M.fault(c, l, "out of bounds", "tensor map in parameter space");
      mp = M.params.data() + (ma - PARAM_WIN);
    } else {
      Buffer* b = M.gcheck(c, l, ma, 128, false);
      mp = b->p + (ma - b->base);
    }
    memcpy(&t, mp, sizeof t);
    if (t.magic != TMAGIC) M.fault(c, l, "tensor map", "not made by ptxrun's encode_tiled");
    if (t.rank != I.nv)
      M.fault(c, l, "tensor map",
              "rank " + std::to_string(t.rank) + " used with " + std::to_string(I.nv) + " coordinates");
    uint64_t s = address(c, I, I.b, I.fl & FL_A32, li, 0);
    if (s >= SHARED_WIN && s < SHARED_WIN + WIN_SIZE) s -= SHARED_WIN;
    if (s & 127)
      M.fault(c, l, "misaligned",
              "tensor copy: shared address " + std::to_string(s) + " is not a multiple of 128");
    int64_t co[5];
    uint64_t n = 1;
    for (int d = 0; d < t.rank; d++) {
      co[d] = (int32_t)src<uint32_t>(c, v[d])[l];
      n *= t.box[d];
    }
    const uint64_t bytes = n * t.es;
    const uint64_t sm = t.swizzle == 3 ? 7 : t.swizzle == 2 ? 3 : t.swizzle == 1 ? 1 : 0;
    auto sw = [&](uint64_t a) { return a ^ ((a >> 7 & sm) << 4); };
    for (uint64_t o = 0; o < bytes; o += 16) {
      uint32_t k = (uint32_t)std::min<uint64_t>(16, bytes - o);
      M.scheck(c, l, s + o, k, I.sub == 0, I.sub != 0);
      if (M.track_sh) M.snote(c, l, (uint32_t)(s + o), k, I.sub == 0, false, nullptr);
    }
    int64_t ix[5] = {0, 0, 0, 0, 0};
    for (uint64_t i = 0; i < n; i++) {
      bool in = true;
      uint64_t g = t.addr;
      for (int d = 0; d < t.rank; d++) {
        int64_t x = co[d] + ix[d];
        in &= x >= 0 && x < (int64_t)t.dim[d];
        g += (uint64_t)(x * (int64_t)t.stride[d]);
      }
      uint8_t* sp = c.b->sh.data() + sw(s + i * t.es);
      if (I.sub == 0) {
        if (in) {
          Buffer* b = M.gcheck(c, l, g, t.es, false);
          memcpy(sp, b->p + (g - b->base), t.es);
        } else if (t.oob)
          memset(sp, 0xff, t.es);
        else
          memset(sp, 0, t.es);
      } else if (in) {
        Buffer* b = M.gcheck(c, l, g, t.es, true);
        const uint64_t off = g - b->base;
        if (M.track_gl && b->access != Access::In) M.gnote(c, b, l, off, t.es, true, I.sub == 2, sp);
        if (I.sub == 2)
          add_el(t.dtype, b->p + off, sp);
        else
          memcpy(b->p + off, sp, t.es);
        if (!b->init.empty()) memset(&b->init[off], 1, t.es);
      }
      for (int d = 0; d < t.rank; d++) {
        if (++ix[d] < t.box[d]) break;
        ix[d] = 0;
      }
    }
    if (I.sub == 0) {
      for (uint64_t i = 0; i < bytes; i++) c.b->st[s + i] |= 2;
      uint32_t off = mb_off(c, l, I, I.e, I.fl & 16, 0);
      MBar& mb = mb_get(c, l, off);
      mb_release(c, mb);
      mb.bulk.emplace_back((uint32_t)s, (uint32_t)bytes);
      mb.tx -= (int64_t)bytes;
      mb_check(c, mb);
    }
  }
}
void ex_bulk_red(Ctx& c, const Inst& I, uint32_t m) {  // shared -> global add, one-dimensional
  Machine& M = *c.M;
  FOR_LANES(li, m) {
    int l = (int)li;
    uint32_t n = src<uint32_t>(c, I.c)[l];
    uint64_t d = address(c, I, I.a, false, li, 0), s = address(c, I, I.b, I.fl & 8, li, 0);
    if (s >= SHARED_WIN && s < SHARED_WIN + WIN_SIZE) s -= SHARED_WIN;
    if (!n || (n & 15) || ((d | s) & 15))
      M.fault(c, l, "misaligned", "bulk reduction: addresses and size must be multiples of 16");
    Buffer* b = M.gcheck(c, l, d, n, true);
    M.scheck(c, l, s, n, false, true);
    if (M.track_sh) M.snote(c, l, (uint32_t)s, n, false, false, nullptr);
    for (uint32_t i = 0; i < n; i += I.sz) add_el(I.ty2, b->p + (d - b->base) + i, c.b->sh.data() + s + i);
    if (!b->init.empty()) memset(&b->init[d - b->base], 1, n);
  }
}
void ex_nop(Ctx&, const Inst&, uint32_t) {}

void gran(Dec& D, Sp sp, uint32_t n) {
  if (sp == Sp::Shared || sp == Sp::Generic) {
    D.P.sh_gran = std::min(D.P.sh_gran, n);
    D.P.uses_shared = true;
  }
  if (sp == Sp::Global || sp == Sp::Generic) D.P.gl_gran = std::min(D.P.gl_gran, n);
}
Sp space_of(Dec& D) {
  for (size_t i = 1; i < D.s->op.size(); i++) {
    const std::string& w = D.s->op[i];
    if (w == "global") return Sp::Global;
    if (w == "shared" || w == "shared::cta" || w == "shared::cluster") return Sp::Shared;
    if (w == "local") return Sp::Local;
    if (w == "const") return Sp::Const;
    if (w == "param" || w == "param::entry" || w == "param::func") return Sp::Param;
  }
  return Sp::Generic;
}
}  // namespace

bool decode_mem(Dec& D, const Stmt& s, Inst& I) {
  const std::string& op = s.op[0];
  auto tensor = [&](int red) {
    if (D.has("im2col") || D.has("tile::gather4") || D.has("tile::scatter4") || D.has("multicast::cluster"))
      D.bad("this form of tensor copy");
    bool load = !red && s.op.size() > 5 && (s.op[5] == "shared::cluster" || s.op[5] == "shared::cta");
    const Opnd &mp = D.o(load ? 1 : 0), &sh = D.o(load ? 0 : 1);
    if (mp.k != Opnd::ADDR || mp.v.size() != 1 || mp.v[0].k != Opnd::VEC) D.bad("tensor address");
    Opnd base = mp;
    base.v.clear();
    Inst J;
    I.a = D.addr(base, Sp::Generic, J);
    I.imm = J.imm;
    J = Inst();
    I.b = D.addr(sh, Sp::Shared, J);
    I.fl = J.fl & 1;
    if (J.imm) D.bad("address offset");
    std::vector<uint32_t> v;
    for (auto& x : mp.v[0].v) v.push_back(D.in(x, T_S32));
    I.nv = (uint8_t)v.size();
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    I.sub = red ? 2 : load ? 0 : 1;
    if (load) {
      J = Inst();
      I.e = D.addr(D.o(2), Sp::Shared, J);
      I.fl |= (J.fl & 1) ? 16 : 0;
      if (J.imm) D.bad("address offset");
    }
    D.P.uses_shared = true;
    D.P.gl_gran = std::min(D.P.gl_gran, 2u);
    I.fn = ex_tensor;
    return true;
  };
  if (op == "cp" && s.op.size() > 1 && s.op[1] == "reduce") {
    if (!D.has("add")) D.bad("bulk reduction other than add");
    if (D.has("tensor")) return tensor(1);
    Ty t = D.type();
    I.ty2 = t == T_F32 ? 7 : t == T_F64 ? 8 : t == T_F16 ? 6 : t == T_BF16 ? 9 : ty_bytes(t) == 8 ? 4 : 2;
    I.sz = (uint8_t)ty_bytes(t);
    Inst J;
    I.a = D.addr(D.o(0), Sp::Global, J);
    if (J.imm) D.bad("address offset");
    J = Inst();
    I.b = D.addr(D.o(1), Sp::Shared, J);
    I.fl = (J.fl & 1) ? 8 : 0;
    if (J.imm) D.bad("address offset");
    I.c = D.in(D.o(2), T_U32);
    D.P.uses_shared = true;
    I.fn = ex_bulk_red;
    return true;
  }
  if (op == "ld" || op == "ldu") {
    Ty t = D.type();
    Sp sp = space_of(D);
    I.ty = t;
    I.sz = (uint8_t)ty_bytes(t);
    I.nv = D.has("v2") ? 2 : D.has("v4") ? 4 : D.has("v8") ? 8 : 1;
    const Opnd& q = D.o(0);
    std::vector<uint32_t> v;
    int bits = 0;
    auto one = [&](const Opnd& x) {
      if (x.k == Opnd::SINK) {
        v.push_back(NOPC);
        return;
      }
      int b;
      v.push_back(D.out_any(x, b));
      bits = b;
    };
    if (q.k == Opnd::VEC)
      for (auto& x : q.v) one(x);
    else
      one(q);
    if ((int)v.size() != I.nv) D.bad("vector size");
    if (!bits) bits = Dec::regbits(t);
    I.nv2 = bits == 128 ? 4 : bits == 64 ? 2 : 1;
    // 16-bit destination registers keep only 16 bits of a sign-extended value
    const Opnd& q0 = q.k == Opnd::VEC ? q.v[0] : q;
    if (q0.k == Opnd::REG && q0.reg >= 0 && ty_bytes(D.env->f->regs[q0.reg].ty) == 2) I.sub = 1;
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    if (D.has("volatile") || D.has("relaxed") || D.has("acquire")) I.fl |= FL_STRONG;
    if (D.o(1).k != Opnd::ADDR) D.bad("address expected");
    uint8_t keep = I.fl;
    I.fl = 0;
    // entry parameter at a constant offset
    if (sp == Sp::Param && D.o(1).reg < 0 && !D.o(1).name.empty()) {
      Sp q2 = sp;
      uint64_t off = D.symaddr(D.o(1).name, q2, D.o(1).imm);
      if (q2 == Sp::Param) {
        I.imm = (int64_t)off;
        if (off + (uint64_t)I.sz * I.nv > D.P.info.param_bytes) D.bad("parameter offset");
        if (I.nv2 == 4) D.bad("128-bit parameter load");
        I.fn = ex_ldparam;
        return true;
      }
    }
    Sp eff = sp;
    I.a = D.addr(D.o(1), sp, I);
    eff = (Sp)I.sp;
    I.fl = (uint8_t)((I.fl & 1) | keep);
    gran(D, eff, (uint32_t)I.sz * I.nv);
    I.fn = ex_ld;
    return true;
  }
  if (op == "st") {
    Ty t = D.type();
    Sp sp = space_of(D);
    I.ty = t;
    I.sz = (uint8_t)ty_bytes(t);
    I.nv = D.has("v2") ? 2 : D.has("v4") ? 4 : D.has("v8") ? 8 : 1;
    if (D.has("async")) D.bad("st.async");
    const Opnd& q = D.o(1);
    std::vector<uint32_t> v;
    int bits = 0;
    auto one = [&](const Opnd& x) {
      int b = D.bits_of(x);
      if (!b) b = bits ? bits : Dec::regbits(t);
      v.push_back(D.in_bits(x, b, t));
      bits = b;
    };
    if (q.k == Opnd::VEC) {
      for (auto& x : q.v)
        if (D.bits_of(x)) bits = D.bits_of(x);
      for (auto& x : q.v) one(x);
    } else
      one(q);
    if ((int)v.size() != I.nv) D.bad("vector size");
    I.nv2 = bits == 128 ? 4 : bits == 64 ? 2 : 1;
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    if (D.o(0).k != Opnd::ADDR) D.bad("address expected");
    I.a = D.addr(D.o(0), sp, I);
    I.fl &= 1;
    if (D.has("volatile") || D.has("relaxed") || D.has("release")) I.fl |= FL_STRONG;
    I.sub = D.has("release") ? (D.has("cta") ? 2 : 1) : 0;
    if (I.sub) D.P.uses_fence = true;
    gran(D, (Sp)I.sp, (uint32_t)I.sz * I.nv);
    I.fn = ex_st;
    return true;
  }
  if (op == "atom" || op == "red") {
    if (D.has("async")) D.bad("red.async");
    static const char* names[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
    int k = -1;
    for (int i = 0; i < 10; i++)
      if (D.has(names[i])) k = i;
    if (k < 0) D.bad("atomic operation");
    Ty t = D.type();
    if (t == T_B128) D.bad("128-bit atomics");
    I.ty = t;
    I.sz = (uint8_t)ty_bytes(t);
    I.sub = (uint8_t)k;
    I.nv = D.has("v2") ? 2 : D.has("v4") ? 4 : D.has("v8") ? 8 : 1;
    const bool atom = op == "atom";
    size_t ai = atom ? 1 : 0;
    std::vector<uint32_t> v, d;
    auto srcs = [&](const Opnd& x) { v.push_back(D.in(x, t)); };
    const Opnd& sv = D.o(ai + 1);
    if (sv.k == Opnd::VEC)
      for (auto& x : sv.v) srcs(x);
    else
      srcs(sv);
    auto dsts = [&](const Opnd& x) {
      if (x.k == Opnd::SINK)
        d.push_back(NOPC);
      else
        d.push_back(D.out(x, t));
    };
    if (atom) {
      if (D.o(0).k == Opnd::VEC)
        for (auto& x : D.o(0).v) dsts(x);
      else
        dsts(D.o(0));
    } else
      d.assign(v.size(), NOPC);
    if ((int)v.size() != I.nv || (int)d.size() != I.nv) D.bad("vector size");
    if (k == AT_CAS) I.c = D.in(D.o(ai + 2), t);
    if (D.has("release") || D.has("acq_rel")) {
      I.ty2 = D.has("cta") ? 2 : 1;
      D.P.uses_fence = true;
    }
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    D.P.vpool.insert(D.P.vpool.end(), d.begin(), d.end());
    I.a = D.addr(D.o(ai), space_of(D), I);
    I.fl &= 1;
    gran(D, (Sp)I.sp, (uint32_t)I.sz * I.nv);
    I.fn = ex_atom;
    return true;
  }
  if (op == "fence" || op == "membar") {
    if (D.has("proxy")) {
      I.fn = ex_nop;
      return true;
    }
    I.sub = D.has("cta") ? 2 : 1;
    D.P.uses_fence = true;
    I.fn = ex_fence;
    return true;
  }
  if (op == "cp" && s.op.size() > 1 && s.op[1] == "async") {
    D.P.uses_async = true;
    if (D.has("mbarrier") && D.has("arrive")) {
      I.sub = D.has("noinc") ? MB_CPASYNC_NOINC : MB_CPASYNC;
      I.a = D.addr(D.o(0), Sp::Shared, I);
      I.fl &= 1;
      I.b = NOPC;
      I.d = NOPC;
      I.fn = ex_mbar;
      return true;
    }
    if (D.has("bulk")) {
      if (D.has("commit_group") || D.has("wait_group")) {
        I.fn = ex_nop;
        return true;
      }
      if (D.has("prefetch")) {
        I.fn = ex_nop;
        return true;
      }
      if (D.has("tensor")) return tensor(0);
      if (s.op.size() < 5) D.bad("cp.async.bulk form");
      bool tosh = s.op[3] == "shared::cluster" || s.op[3] == "shared::cta";
      Inst J;
      I.a = D.addr(D.o(0), tosh ? Sp::Shared : Sp::Global, J);
      uint8_t fl = J.fl & 1;
      if (J.imm) D.bad("address offset");
      J = Inst();
      I.b = D.addr(D.o(1), tosh ? Sp::Global : Sp::Shared, J);
      fl |= (J.fl & 1) ? 8 : 0;
      if (J.imm) D.bad("address offset");
      I.c = D.in(D.o(2), T_U32);
      I.sub = tosh ? 0 : 1;
      if (tosh) {
        if (s.op[4] != "global") D.bad("shared to shared bulk copy");
        J = Inst();
        I.e = D.addr(D.o(3), Sp::Shared, J);
        fl |= (J.fl & 1) ? 16 : 0;
        if (J.imm) D.bad("address offset");
      } else if (D.has("cp_mask"))
        D.bad("cp_mask");
      I.fl = fl;
      D.P.uses_shared = true;
      I.fn = ex_bulk;
      return true;
    }
    if (D.has("commit_group")) {
      I.fn = ex_commit;
      return true;
    }
    if (D.has("wait_group")) {
      I.imm = D.o(0).imm;
      I.fn = ex_wait;
      return true;
    }
    if (D.has("wait_all")) {
      I.sub = 1;
      I.fn = ex_wait;
      return true;
    }
    Inst J;
    I.b = D.addr(D.o(1), Sp::Global, J);
    if (J.fl & 1) D.bad("32-bit global address");
    I.e = (uint32_t)J.imm;
    if ((int64_t)(int32_t)I.e != J.imm || J.imm < 0) {
      if (J.imm) D.bad("cp.async source offset");
    }
    I.a = D.addr(D.o(0), Sp::Shared, I);
    I.fl &= 1;
    if (D.o(2).k != Opnd::IMM) D.bad("copy size");
    I.sz = (uint8_t)D.o(2).imm;
    if (I.sz != 4 && I.sz != 8 && I.sz != 16) D.bad("copy size");
    if (s.o.size() > 3 && !(D.has("L2::cache_hint") && s.o.size() == 4)) {
      const Opnd& x = D.o(3);
      if (x.k == Opnd::REG && D.env->f->regs[x.reg].ty == T_PRED) {
        I.sub = 2;
        I.c = (uint32_t)D.pred(x);
        I.nv = x.neg ? 1 : 0;
      } else {
        I.sub = 1;
        I.c = D.in(x, T_U32);
      }
    }
    gran(D, Sp::Shared, I.sz);
    gran(D, Sp::Global, I.sz);
    I.fn = ex_cpasync;
    return true;
  }
  if (op == "mbarrier") {
    D.P.uses_shared = true;
    const std::string& k = s.op[1];
    I.b = NOPC;
    I.d = NOPC;
    auto at = [&](size_t i) {
      I.a = D.addr(D.o(i), Sp::Shared, I);
      I.fl &= 1;
    };
    if (k == "init") {
      I.sub = MB_INIT;
      at(0);
      I.b = D.in(D.o(1), T_U32);
    } else if (k == "inval") {
      I.sub = MB_INVAL;
      at(0);
    } else if (k == "expect_tx" || k == "complete_tx") {
      I.sub = k == "expect_tx" ? MB_EXPECT : MB_COMPLETE;
      at(0);
      I.b = D.in(D.o(1), T_U32);
    } else if (k == "arrive" || k == "arrive_drop") {
      bool tx = D.has("expect_tx");
      I.sub = k == "arrive_drop" ? MB_DROP : tx ? MB_ARRIVE_EXPECT : MB_ARRIVE;
      if (k == "arrive_drop" && tx) D.bad("arrive_drop.expect_tx");
      size_t i = 0;
      if (D.o(0).k != Opnd::ADDR) {
        if (D.o(0).k != Opnd::SINK) I.d = D.out(D.o(0), T_B64);
        i = 1;
      }
      at(i);
      if (s.o.size() > i + 1) I.b = D.in(D.o(i + 1), T_U32);
    } else if (k == "test_wait" || k == "try_wait") {
      bool par = D.has("parity");
      I.sub = par ? MB_TEST_PARITY : MB_TEST;
      I.d = (uint32_t)D.pred(D.o(0));
      at(1);
      I.b = par ? D.in(D.o(2), T_U32) : D.in(D.o(2), T_B64);
      I.ctl = C_TRYWAIT;
    } else
      D.bad("mbarrier operation");
    I.fn = ex_mbar;
    return true;
  }
  return false;
}

bool encode_tiled(void* map, int dtype, unsigned rank, uint64_t addr, const uint64_t* dims,
                  const uint64_t* strides, const uint32_t* box, const uint32_t* es, int interleave,
                  int swizzle, int oob) {
  static const uint8_t size[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
  if (dtype < 0 || dtype > 12 || rank < 1 || rank > 5 || interleave || swizzle < 0 || swizzle > 3 ||
      (addr & 15))
    return false;
  TMap t;
  memset(&t, 0, sizeof t);
  t.magic = TMAGIC;
  t.addr = addr;
  t.rank = (uint8_t)rank;
  t.dtype = (uint8_t)dtype;
  t.es = size[dtype];
  t.swizzle = (uint8_t)swizzle;
  t.oob = (uint8_t)oob;
  t.stride[0] = t.es;
  for (unsigned i = 0; i < rank; i++) {
    if (!dims[i] || dims[i] > 0xffffffffull || !box[i] || box[i] > 256 || (es && es[i] != 1)) return false;
    t.dim[i] = (uint32_t)dims[i];
    t.box[i] = (uint16_t)box[i];
    if (i) {
      if (strides[i - 1] & 15) return false;
      t.stride[i] = strides[i - 1];
    }
  }
  const uint64_t inner = (uint64_t)box[0] * t.es;
  if (inner & 15) return false;
  if (swizzle && inner > (16ull << swizzle)) return false;
  memset(map, 0, 128);
  memcpy(map, &t, sizeof t);
  return true;
}

}  // namespace ptxrun
