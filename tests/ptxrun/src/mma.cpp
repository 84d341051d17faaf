// Matrix instructions: ldmatrix, stmatrix, movmatrix, mma.sync.
#include <algorithm>

#include "machine.h"

namespace ptxrun {
namespace {

// base addresses of the 8 rows of each matrix
inline uint64_t row_addr(Ctx& c, const Inst& I, uint32_t lane) {
  uint64_t a = (I.fl & 1) ? (uint64_t)(uint32_t)(src<uint32_t>(c, I.a)[lane] + (uint32_t)I.imm)
                          : src<uint64_t>(c, I.a)[lane] + (uint64_t)I.imm;
  if (a >= SHARED_WIN && a < SHARED_WIN + WIN_SIZE) a -= SHARED_WIN;
  if (a & 15)
    c.M->fault(c, (int)lane, "misaligned",
               "matrix row address shared+" + std::to_string(a) + " is not a multiple of 16");
  return a;
}
void ex_ldmatrix(Ctx& c, const Inst& I, uint32_t m) {
  Machine& M = *c.M;
  const uint32_t* v = &c.P->vpool[I.vp];
  uint32_t out[4][W];
  for (int j = 0; j < I.nv; j++) {
    uint16_t mat[8][8];
    for (int r = 0; r < 8; r++) {
      uint32_t lane = (uint32_t)(j * 8 + r);
      uint64_t a = row_addr(c, I, lane);
      M.scheck(c, (int)lane, a, 16, false, true);
      if (M.track_sh) M.snote(c, (int)lane, (uint32_t)a, 16, false, false, nullptr);
      memcpy(mat[r], c.b->sh.data() + a, 16);
    }
    for (uint32_t l = 0; l < W; l++) {
      if (I.sub)
        out[j][l] = (uint32_t)mat[2 * (l & 3)][l >> 2] | (uint32_t)mat[2 * (l & 3) + 1][l >> 2] << 16;
      else
        memcpy(&out[j][l], &mat[l >> 2][2 * (l & 3)], 4);
    }
  }
  for (int j = 0; j < I.nv; j++) {
    uint32_t* d = dst<uint32_t>(c, v[j]);
    FOR_LANES(l, m) d[l] = out[j][l];
  }
}
void ex_stmatrix(Ctx& c, const Inst& I, uint32_t) {
  Machine& M = *c.M;
  const uint32_t* v = &c.P->vpool[I.vp];
  for (int j = 0; j < I.nv; j++) {
    const uint32_t* s = src<uint32_t>(c, v[j]);
    uint16_t mat[8][8];
    for (uint32_t l = 0; l < W; l++) {
      if (I.sub) {
        mat[2 * (l & 3)][l >> 2] = (uint16_t)s[l];
        mat[2 * (l & 3) + 1][l >> 2] = (uint16_t)(s[l] >> 16);
      } else
        memcpy(&mat[l >> 2][2 * (l & 3)], &s[l], 4);
    }
    for (int r = 0; r < 8; r++) {
      uint32_t lane = (uint32_t)(j * 8 + r);
      uint64_t a = row_addr(c, I, lane);
      M.scheck(c, (int)lane, a, 16, true, false);
      if (M.track_sh) M.snote(c, (int)lane, (uint32_t)a, 16, true, false, (const uint8_t*)mat[r]);
      memcpy(c.b->sh.data() + a, mat[r], 16);
      for (int i = 0; i < 16; i++) c.b->st[a + i] |= 1;
    }
  }
}
void ex_movmatrix(Ctx& c, const Inst& I, uint32_t m) {
  uint16_t mat[8][8];
  const uint32_t* a = src<uint32_t>(c, I.a);
  for (uint32_t l = 0; l < W; l++) memcpy(&mat[l >> 2][2 * (l & 3)], &a[l], 4);
  uint32_t* d = dst<uint32_t>(c, I.d);
  FOR_LANES(l, m) d[l] = (uint32_t)mat[2 * (l & 3)][l >> 2] | (uint32_t)mat[2 * (l & 3) + 1][l >> 2] << 16;
}

float elem(Ty t, uint32_t w, int i) {
  switch (t) {
    case T_BF16: return bf2f(w >> 16 * i);
    case T_F16: return h2f(w >> 16 * i);
    case T_TF32: return tf2f(w);
    case T_E4M3: return e4m3_f(w >> 8 * i);
    case T_E5M2: return e5m2_f(w >> 8 * i);
    default: return 0;
  }
}
int iel(Ty t, uint32_t w, int i) {
  return t == T_S8 ? (int)(int8_t)(w >> 8 * i) : (int)(uint8_t)(w >> 8 * i);
}

// m16n8kK with f16/bf16/tf32/fp8 inputs.  ty A type, sub B type, ty2 accumulator, imm K.
// registers in vpool: D, A, B, C
void ex_mma_f(Ctx& c, const Inst& I, uint32_t m) {
  const uint32_t* v = &c.P->vpool[I.vp];
  const int K = (int)I.imm, nd = I.nv, na = I.nv2, nb = I.sz;
  const uint32_t *vd = v, *va = v + nd, *vb = va + na, *vc = vb + nb;
  alignas(64) float A[16][32], B[32][8];
  const Ty ta = (Ty)I.ty, tb = (Ty)I.sub;
  const int per = ta == T_TF32 ? 1 : ty_bytes(ta) == 2 ? 2 : 4;  // elements a register
  // A: registers go rows g, g+8, then columns +4*per
  for (int r = 0; r < na; r++) {
    const uint32_t* s = src<uint32_t>(c, va[r]);
    for (int l = 0; l < W; l++)
      for (int i = 0; i < per; i++)
        A[(l >> 2) + 8 * (r & 1)][(l & 3) * per + i + 4 * per * (r >> 1)] = elem(ta, s[l], i);
  }
  for (int r = 0; r < nb; r++) {
    const uint32_t* s = src<uint32_t>(c, vb[r]);
    for (int l = 0; l < W; l++)
      for (int i = 0; i < per; i++) B[(l & 3) * per + i + 4 * per * r][l >> 2] = elem(tb, s[l], i);
  }
  alignas(64) double acc[16][8];
  const bool h = I.ty2 == T_F16;
  for (int l = 0; l < W; l++)
    for (int e = 0; e < 4; e++) {
      int row = (l >> 2) + 8 * (e >> 1), col = (l & 3) * 2 + (e & 1);
      acc[row][col] =
          h ? h2f(src<uint32_t>(c, vc[e >> 1])[l] >> 16 * (e & 1)) : (double)src<float>(c, vc[e])[l];
    }
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < K; k++) {
      float a = A[i][k];
      for (int n = 0; n < 8; n++) acc[i][n] += (double)(a * B[k][n]);
    }
  if (h) {
    for (int r = 0; r < 2; r++) {
      uint32_t* d = dst<uint32_t>(c, vd[r]);
      FOR_LANES(l, m)
      d[l] = f2h(acc[(l >> 2) + 8 * r][(l & 3) * 2]) | f2h(acc[(l >> 2) + 8 * r][(l & 3) * 2 + 1]) << 16;
    }
  } else
    for (int e = 0; e < 4; e++) {
      float* d = dst<float>(c, vd[e]);
      FOR_LANES(l, m) d[l] = (float)acc[(l >> 2) + 8 * (e >> 1)][(l & 3) * 2 + (e & 1)];
    }
  c.M->mmas++;
}
void ex_mma_i(Ctx& c, const Inst& I, uint32_t m) {  // s8/u8, m16n8k16 and m16n8k32
  const uint32_t* v = &c.P->vpool[I.vp];
  const int K = (int)I.imm, nd = I.nv, na = I.nv2, nb = I.sz;
  const uint32_t *vd = v, *va = v + nd, *vb = va + na, *vc = vb + nb;
  int A[16][32], B[32][8];
  for (int r = 0; r < na; r++)
    for (int l = 0; l < W; l++)
      for (int i = 0; i < 4; i++)
        A[(l >> 2) + 8 * (r & 1)][(l & 3) * 4 + i + 16 * (r >> 1)] =
            iel((Ty)I.ty, src<uint32_t>(c, va[r])[l], i);
  for (int r = 0; r < nb; r++)
    for (int l = 0; l < W; l++)
      for (int i = 0; i < 4; i++)
        B[(l & 3) * 4 + i + 16 * r][l >> 2] = iel((Ty)I.sub, src<uint32_t>(c, vb[r])[l], i);
  uint32_t out[4][W];
  for (int e = 0; e < 4; e++)
    for (int l = 0; l < W; l++) {
      int row = (l >> 2) + 8 * (e >> 1), col = (l & 3) * 2 + (e & 1);
      int64_t s = (int32_t)src<uint32_t>(c, vc[e])[l];
      for (int k = 0; k < K; k++) s += A[row][k] * B[k][col];
      if (I.fl & 2) s = std::max<int64_t>(INT32_MIN, std::min<int64_t>(INT32_MAX, s));
      out[e][l] = (uint32_t)s;
    }
  for (int e = 0; e < 4; e++) {
    uint32_t* d = dst<uint32_t>(c, vd[e]);
    FOR_LANES(l, m) d[l] = out[e][l];
  }
  c.M->mmas++;
}
void ex_mma_d(Ctx& c, const Inst& I, uint32_t m) {  // f64: m8n8k4 and m16n8k4/8/16
  const uint32_t* v = &c.P->vpool[I.vp];
  const int K = (int)I.imm, nd = I.nv, na = I.nv2, nb = I.sz;
  const bool big = nd == 4;
  const uint32_t *vd = v, *va = v + nd, *vb = va + na, *vc = vb + nb;
  double A[16][16], B[16][8], out[4][W];
  for (int r = 0; r < na; r++)
    for (int l = 0; l < W; l++) {
      if (big)
        A[(l >> 2) + 8 * (r & 1)][(l & 3) + 4 * (r >> 1)] = src<double>(c, va[r])[l];
      else
        A[l >> 2][l & 3] = src<double>(c, va[r])[l];
    }
  for (int r = 0; r < nb; r++)
    for (int l = 0; l < W; l++) B[(l & 3) + 4 * r][l >> 2] = src<double>(c, vb[r])[l];
  for (int e = 0; e < nd; e++)
    for (int l = 0; l < W; l++) {
      int row = (l >> 2) + 8 * (e >> 1), col = (l & 3) * 2 + (e & 1);
      double s = src<double>(c, vc[e])[l];
      for (int k = 0; k < K; k++) s = std::fma(A[row][k], B[k][col], s);
      out[e][l] = s;
    }
  for (int e = 0; e < nd; e++) {
    double* d = dst<double>(c, vd[e]);
    FOR_LANES(l, m) d[l] = out[e][l];
  }
  c.M->mmas++;
}

// ---- wgmma (sm_90a).  Each warp of the warpgroup computes its own 16 rows of D: they need nothing
// from the other warps but the shared-memory tiles.  Shared-memory matrix descriptor -> byte address.
struct Desc {
  uint64_t start, lbo, sbo;
  int mode;  // 0 none, 1 128B, 2 64B, 3 32B
  bool mn;   // MN-major
  int es;    // element bytes
  uint64_t at(int i, int k) const {
    const int T = 16 / es;
    uint64_t o;
    static const int sw[] = {1, 8, 4, 2};
    const int w = sw[mode];
    if (!mn) {
      const int kc = k / T, ke = k % T;
      o = (uint64_t)(i & 7) * 16 * (uint64_t)w + (uint64_t)(i >> 3) * sbo + (uint64_t)ke * es +
          (mode == 0 ? (uint64_t)kc * lbo : (uint64_t)kc * 16);
    } else {
      const int c = i / T, e = i % T;
      o = (uint64_t)e * es + (uint64_t)(k & 7) * 16 * (uint64_t)w;
      if (mode == 0)
        o += (uint64_t)c * sbo + (uint64_t)(k >> 3) * lbo;
      else
        o += (uint64_t)(c % w) * 16 + (uint64_t)(c / w) * lbo + (uint64_t)(k >> 3) * sbo;
    }
    uint64_t a = start + o;
    if (mode) a ^= ((a >> 7) & (uint64_t)(w - 1)) << 4;
    return a;
  }
};
Desc desc(Ctx& c, uint64_t d, bool mn, int es) {
  Desc r;
  r.start = (d & 0x3fff) << 4;
  r.lbo = (d >> 16 & 0x3fff) << 4;
  r.sbo = (d >> 32 & 0x3fff) << 4;
  r.mode = (int)(d >> 62);
  r.mn = mn;
  r.es = es;
  if (d >> 49 & 7) c.M->fault(c, 0, "unsupported", "wgmma matrix descriptor with a base offset");
  return r;
}
// imm: N | K << 16; ty element type of A, ty2 accumulator, sub element type of B, fl bit0 A in registers,
// bit1 trans A, bit2 trans B, bit3 negate A, bit4 negate B
void ex_wgmma(Ctx& c, const Inst& I, uint32_t m) {
  Machine& M = *c.M;
  const uint32_t* v = &c.P->vpool[I.vp];
  const int N = (int)(I.imm & 0xffff), K = (int)(I.imm >> 16);
  const Ty ta = (Ty)I.ty, tb = (Ty)I.sub;
  const int es = ta == T_TF32 ? 4 : ty_bytes(ta), per = 4 / es;
  const bool regA = I.fl & 1, integer = I.ty2 == T_S32, h = I.ty2 == T_F16;
  const int nd = h ? N / 4 : N / 2;
  static thread_local std::vector<double> A, B, D;
  A.assign(16 * (size_t)K, 0);
  B.assign((size_t)K * N, 0);
  auto get = [&](Ty t, const uint8_t* p) -> double {
    uint32_t w = 0;
    memcpy(&w, p, (size_t)es);
    return t == T_S8 || t == T_U8 ? iel(t, w, 0) : elem(t, w, 0);
  };
  // a 16-byte chunk of a tile
  uint64_t last = ~0ull;
  auto chunk = [&](uint64_t a) -> const uint8_t* {
    uint64_t q = a & ~15ull;
    if (q != last) {
      M.scheck(c, 0, q, 16, false, true);
      if (M.track_sh) M.snote(c, 0, (uint32_t)q, 16, false, false, nullptr);
      last = q;
    }
    return c.b->sh.data() + a;
  };
  if (regA) {
    for (int r = 0; r < 4; r++) {
      const uint32_t* s = src<uint32_t>(c, v[nd + r]);
      for (int l = 0; l < W; l++)
        for (int i = 0; i < per; i++)
          A[(size_t)((l >> 2) + 8 * (r & 1)) * K + (l & 3) * per + i + 4 * per * (r >> 1)] =
              integer ? iel(ta, s[l], i) : elem(ta, s[l], i);
    }
  } else {
    Desc d = desc(c, src<uint64_t>(c, I.a)[0], I.fl & 2, es);
    const int row0 = (c.w->id & 3) * 16;
    for (int i = 0; i < 16; i++)
      for (int k = 0; k < K; k++) A[(size_t)i * K + k] = get(ta, chunk(d.at(row0 + i, k)));
  }
  {
    Desc d = desc(c, src<uint64_t>(c, I.b)[0], I.fl & 4, es);
    if (d.mn) {
      for (int k = 0; k < K; k++)
        for (int n = 0; n < N; n++) B[(size_t)k * N + n] = get(tb, chunk(d.at(n, k)));
    } else
      for (int n = 0; n < N; n++)
        for (int k = 0; k < K; k++) B[(size_t)k * N + n] = get(tb, chunk(d.at(n, k)));
  }
  if (I.fl & 8)
    for (auto& x : A) x = -x;
  if (I.fl & 16)
    for (auto& x : B) x = -x;
  D.assign(16 * (size_t)N, 0);
  const bool acc = I.d2 == NOPC ? I.c != 0 : (c.pred[I.d2] >> __builtin_ctz(m)) & 1;
  auto pos = [&](int l, int i, int& row, int& col) {
    row = (l >> 2) + 8 * ((i >> 1) & 1);
    col = (i >> 2) * 8 + (l & 3) * 2 + (i & 1);
  };
  if (acc)
    for (int r = 0; r < nd; r++)
      for (int l = 0; l < W; l++) {
        int row, col;
        if (h)
          for (int e = 0; e < 2; e++) {
            pos(l, 2 * r + e, row, col);
            D[(size_t)row * N + col] = h2f(src<uint32_t>(c, v[r])[l] >> 16 * e);
          }
        else {
          pos(l, r, row, col);
          D[(size_t)row * N + col] =
              integer ? (double)(int32_t)src<uint32_t>(c, v[r])[l] : (double)src<float>(c, v[r])[l];
        }
      }
  for (int i = 0; i < 16; i++)
    for (int k = 0; k < K; k++) {
      const double a = A[(size_t)i * K + k], *b = &B[(size_t)k * N];
      double* d = &D[(size_t)i * N];
      for (int n = 0; n < N; n++) d[n] += a * b[n];
    }
  for (int r = 0; r < nd; r++) {
    uint32_t* o = dst<uint32_t>(c, v[r]);
    FOR_LANES(l, m) {
      int row, col;
      if (h) {
        uint32_t x = 0;
        for (int e = 0; e < 2; e++) {
          pos((int)l, 2 * r + e, row, col);
          x |= f2h(D[(size_t)row * N + col]) << 16 * e;
        }
        o[l] = x;
      } else {
        pos((int)l, r, row, col);
        double x = D[(size_t)row * N + col];
        o[l] =
            integer ? (uint32_t)(int32_t)std::max(-2147483648.0, std::min(2147483647.0, x)) : b32((float)x);
      }
    }
  }
  M.mmas += (uint64_t)(N / 8);
}
void ex_nop(Ctx&, const Inst&, uint32_t) {}
}  // namespace

bool decode_mma(Dec& D, const Stmt& s, Inst& I) {
  const std::string& op = s.op[0];
  if (op == "ldmatrix" || op == "stmatrix") {
    bool ld = op == "ldmatrix";
    if (!D.has("m8n8") || !D.has("b16")) D.bad("only .m8n8 .b16 is supported");
    I.nv = D.has("x4") ? 4 : D.has("x2") ? 2 : 1;
    I.sub = D.has("trans");
    const Opnd& q = D.o(ld ? 0 : 1);
    std::vector<uint32_t> v;
    auto one = [&](const Opnd& x) { v.push_back(ld ? D.out(x, T_B32) : D.in(x, T_B32)); };
    if (q.k == Opnd::VEC)
      for (auto& x : q.v) one(x);
    else
      one(q);
    if ((int)v.size() != I.nv) D.bad("register count");
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    I.a = D.addr(D.o(ld ? 1 : 0), Sp::Shared, I);
    I.fl &= 1;
    D.P.uses_shared = true;
    I.ctl = C_WSYNC;
    I.e = NOPC;
    I.fn = ld ? ex_ldmatrix : ex_stmatrix;
    return true;
  }
  if (op == "movmatrix") {
    I.d = D.out(D.o(0), T_B32);
    I.a = D.in(D.o(1), T_B32);
    I.ctl = C_WSYNC;
    I.e = NOPC;
    I.fn = ex_movmatrix;
    return true;
  }
  if (op == "wgmma") {
    if (!D.has("mma_async")) {
      I.fn = ex_nop;
      return true;
    }  // fence, commit_group, wait_group
    if (D.has("sp")) D.bad("sparse wgmma");
    int mm = 0, nn = 0, kk = 0;
    for (auto& w : s.op)
      if (w.size() > 4 && w[0] == 'm' && isdigit((unsigned char)w[1]) &&
          sscanf(w.c_str(), "m%dn%dk%d", &mm, &nn, &kk) == 3)
        break;
    auto t = D.types();  // d a b
    if (t.size() != 3 || mm != 64 || nn % 8 || nn > 256) D.bad("wgmma shape or types");
    I.ty2 = t[0];
    I.ty = t[1];
    I.sub = t[2];
    const bool h = t[0] == T_F16, integer = t[0] == T_S32, two = t[1] == T_F16 || t[1] == T_BF16;
    if (t[0] != T_F32 && !h && !integer) D.bad("wgmma accumulator");
    const int es = t[1] == T_TF32 ? 4 : ty_bytes(t[1]);
    if (kk * es != 32) D.bad("wgmma K");
    I.imm = nn | kk << 16;
    std::vector<uint32_t> v;
    if (D.o(0).k != Opnd::VEC) D.bad("wgmma destination");
    for (auto& x : D.o(0).v) v.push_back(D.out(x, T_B32));
    if ((int)v.size() != (h ? nn / 4 : nn / 2)) D.bad("register count");
    if (D.o(1).k == Opnd::VEC) {
      I.fl |= 1;
      for (auto& x : D.o(1).v) v.push_back(D.in(x, T_B32));
      if (D.o(1).v.size() != 4) D.bad("register count");
    } else
      I.a = D.in(D.o(1), T_B64);
    I.b = D.in(D.o(2), T_B64);
    const Opnd& sd = D.o(3);
    I.d2 = NOPC;
    if (sd.k == Opnd::IMM)
      I.e = sd.imm != 0;
    else
      I.d2 = (uint32_t)D.pred(sd);
    size_t i = 4;
    auto immop = [&](size_t n) -> int64_t {
      const Opnd& x = D.o(n);
      if (x.k != Opnd::IMM) D.bad("immediate expected");
      return x.imm;
    };
    if (!integer) {
      if (immop(i++) < 0) I.fl |= 8;
      if (immop(i++) < 0) I.fl |= 16;
    }
    if (two) {
      if (!(I.fl & 1) && immop(i++)) I.fl |= 2;
      if (immop(i++)) I.fl |= 4;
    }
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    const uint32_t keep = I.e;
    I.ctl = C_WSYNC;
    I.e = NOPC;
    I.c = keep;
    D.P.uses_shared = true;
    I.fn = ex_wgmma;
    return true;
  }
  if (op == "mma") {
    if (D.has("sp") || D.has("sp::ordered_metadata") || D.has("block_scale"))
      D.bad("sparse or block-scaled mma");
    std::string shape;
    for (auto& w : s.op)
      if (w.size() > 4 && w[0] == 'm' && isdigit((unsigned char)w[1])) shape = w;
    int mm = 0, nn = 0, kk = 0;
    if (sscanf(shape.c_str(), "m%dn%dk%d", &mm, &nn, &kk) != 3) D.bad("mma shape");
    auto t = D.types();  // d a b c
    if (t.size() != 4) D.bad("mma types");
    if (!D.has("row") || !D.has("col")) D.bad("mma layout (only .row.col)");
    I.imm = kk;
    I.ty = t[1];
    I.sub = t[2];
    I.ty2 = t[0];
    bool f64t = t[0] == T_F64;
    std::vector<uint32_t> v;
    size_t cnt[4];
    for (int i = 0; i < 4; i++) {
      const Opnd& q = D.o((size_t)i);
      size_t b = v.size();
      auto one = [&](const Opnd& x) {
        v.push_back(i == 0 ? D.out(x, f64t ? T_B64 : T_B32)
                           : D.in(x, f64t                      ? T_F64
                                     : i == 3 && t[3] == T_F32 ? T_F32
                                                               : T_B32));
      };
      if (q.k == Opnd::VEC)
        for (auto& x : q.v) one(x);
      else
        one(q);
      cnt[i] = v.size() - b;
    }
    I.vp = (uint32_t)D.P.vpool.size();
    D.P.vpool.insert(D.P.vpool.end(), v.begin(), v.end());
    I.nv = (uint8_t)cnt[0];
    I.nv2 = (uint8_t)cnt[1];
    I.sz = (uint8_t)cnt[2];
    I.ctl = C_WSYNC;
    I.e = NOPC;
    I.fl = D.has("satfinite") ? 2 : 0;
    auto want = [&](size_t d, size_t a, size_t b) {
      if (cnt[0] != d || cnt[1] != a || cnt[2] != b || cnt[3] != d)
        D.bad("register counts for this mma shape");
    };
    if (f64t) {
      if (mm == 8)
        want(2, 1, 1);
      else
        want(4, (size_t)kk / 2, (size_t)kk / 4);
      I.fn = ex_mma_d;
      return true;
    }
    if (mm != 16 || nn != 8) D.bad("mma shape " + shape);
    if (t[0] == T_S32) {
      if (ty_bytes(t[1]) != 1 || (kk != 16 && kk != 32)) D.bad("integer mma type");
      want(4, (size_t)kk / 8, (size_t)kk / 16);
      I.fn = ex_mma_i;
      return true;
    }
    size_t nd = t[0] == T_F16 ? 2 : 4;
    int per = t[1] == T_TF32 ? 1 : ty_bytes(t[1]) == 2 ? 2 : 4;
    if (t[1] != T_F16 && t[1] != T_BF16 && t[1] != T_TF32 && t[1] != T_E4M3 && t[1] != T_E5M2)
      D.bad("mma input type");
    if (kk > 32) D.bad("mma shape");
    want(nd, (size_t)(kk / (4 * per) * 2), (size_t)(kk / (4 * per)));
    I.fn = ex_mma_f;
    return true;
  }
  return false;
}

}  // namespace ptxrun
