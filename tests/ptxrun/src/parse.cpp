#include "parse.h"

#include <cctype>
#include <cstdlib>

#include "ptxrun.h"

namespace ptxrun {

static const std::pair<const char*, std::pair<Ty, int>> kTypes[] = {
    {"pred", {T_PRED, 1}},     {"b8", {T_B8, 1}},         {"b16", {T_B16, 2}},     {"b32", {T_B32, 4}},
    {"b64", {T_B64, 8}},       {"b128", {T_B128, 16}},    {"u8", {T_U8, 1}},       {"u16", {T_U16, 2}},
    {"u32", {T_U32, 4}},       {"u64", {T_U64, 8}},       {"s8", {T_S8, 1}},       {"s16", {T_S16, 2}},
    {"s32", {T_S32, 4}},       {"s64", {T_S64, 8}},       {"f16", {T_F16, 2}},     {"f16x2", {T_F16X2, 4}},
    {"bf16", {T_BF16, 2}},     {"bf16x2", {T_BF16X2, 4}}, {"f32", {T_F32, 4}},     {"f64", {T_F64, 8}},
    {"tf32", {T_TF32, 4}},     {"e4m3", {T_E4M3, 1}},     {"e5m2", {T_E5M2, 1}},   {"e4m3x2", {T_E4M3X2, 2}},
    {"e5m2x2", {T_E5M2X2, 2}}, {"f32x2", {T_F32X2, 8}},   {"u16x2", {T_U16X2, 4}}, {"s16x2", {T_S16X2, 4}}};

Ty ty_parse(const std::string& s) {
  static const std::unordered_map<std::string, Ty> m = [] {
    std::unordered_map<std::string, Ty> r;
    for (auto& k : kTypes) r[k.first] = k.second.first;
    return r;
  }();
  auto it = m.find(s);
  return it == m.end() ? T_NONE : it->second;
}
int ty_bytes(Ty t) {
  for (auto& k : kTypes)
    if (k.second.first == t) return k.second.second;
  return 0;
}

int Function::find(int s, const std::string& n, int what) const {
  for (; s >= 0; s = scopes[s].parent) {
    auto& m = what == 0   ? scopes[s].regs
              : what == 1 ? scopes[s].vars
              : what == 2 ? scopes[s].labels
                          : scopes[s].tables;
    auto it = m.find(n);
    if (it != m.end()) return it->second;
  }
  return -1;
}

namespace {

struct Parser {
  const std::string& t;
  size_t p = 0;
  int line = 1;
  Module& M;
  Function* F = nullptr;
  int scope = 0, locfile = 0, locline = 0;

  Parser(const std::string& text, Module& m) : t(text), M(m) {}

  [[noreturn]] void fail(const std::string& msg) {
    throw Error("parse", M.name + ":" + std::to_string(line) + ": PTX syntax: " + msg +
                             (F ? " (in " + F->name + ")" : ""));
  }
  void ws() {
    for (;;) {
      while (p < t.size() && isspace((unsigned char)t[p])) {
        if (t[p] == '\n') line++;
        p++;
      }
      if (p + 1 < t.size() && t[p] == '/' && t[p + 1] == '/') {
        while (p < t.size() && t[p] != '\n') p++;
        continue;
      }
      if (p + 1 < t.size() && t[p] == '/' && t[p + 1] == '*') {
        p += 2;
        while (p + 1 < t.size() && !(t[p] == '*' && t[p + 1] == '/')) {
          if (t[p] == '\n') line++;
          p++;
        }
        p += 2;
        continue;
      }
      return;
    }
  }
  static bool idc(char c) { return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '%'; }
  bool eof() {
    ws();
    return p >= t.size();
  }
  char peek() {
    ws();
    return p < t.size() ? t[p] : 0;
  }
  bool acc(char c) {
    if (peek() == c) {
      p++;
      return true;
    }
    return false;
  }
  void want(char c) {
    if (!acc(c)) fail(std::string("expected '") + c + "' before '" + t.substr(p, 20) + "'");
  }
  std::string ident() {
    ws();
    size_t b = p;
    while (p < t.size() && idc(t[p])) p++;
    if (b == p) fail("expected a name before '" + t.substr(p, 20) + "'");
    return t.substr(b, p - b);
  }
  // .word (with :: parts)
  std::string dot() {
    want('.');
    size_t b = p;
    while (p < t.size() && (idc(t[p]) || (t[p] == ':' && p + 1 < t.size() && t[p + 1] == ':' && (p += 1))))
      p++;
    return t.substr(b, p - b);
  }
  std::string peekdot() {
    ws();
    size_t s = p;
    int sl = line;
    if (p >= t.size() || t[p] != '.') return "";
    std::string r = dot();
    p = s;
    line = sl;
    return r;
  }
  void eol() {
    while (p < t.size() && t[p] != '\n') p++;
  }
  std::string str() {
    want('"');
    size_t b = p;
    while (p < t.size() && t[p] != '"') p++;
    std::string r = t.substr(b, p - b);
    p++;
    return r;
  }
  Opnd number() {
    ws();
    Opnd o;
    bool neg = false;
    if (t[p] == '-') {
      neg = true;
      p++;
      ws();
    } else if (t[p] == '+')
      p++;
    if (t[p] == '0' && (t[p + 1] == 'f' || t[p + 1] == 'F')) {
      o.k = Opnd::FIMM32;
      o.imm = (int64_t)strtoul(t.substr(p + 2, 8).c_str(), nullptr, 16);
      p += 10;
      if (neg) o.imm ^= 0x80000000ll;
      return o;
    }
    if (t[p] == '0' && (t[p + 1] == 'd' || t[p + 1] == 'D')) {
      o.k = Opnd::FIMM64;
      o.imm = (int64_t)strtoull(t.substr(p + 2, 16).c_str(), nullptr, 16);
      p += 18;
      if (neg) o.imm ^= (int64_t)0x8000000000000000ull;
      return o;
    }
    size_t b = p;
    bool isf = false;
    if (t[p] == '0' && (t[p + 1] == 'x' || t[p + 1] == 'X')) {
      p += 2;
      while (isxdigit((unsigned char)t[p])) p++;
    } else {
      while (isdigit((unsigned char)t[p])) p++;
      if (t[p] == '.' && isdigit((unsigned char)t[p + 1])) {
        isf = true;
        p++;
        while (isdigit((unsigned char)t[p])) p++;
      }
      if ((t[p] == 'e' || t[p] == 'E') && isf) {
        p++;
        if (t[p] == '-' || t[p] == '+') p++;
        while (isdigit((unsigned char)t[p])) p++;
      }
    }
    if (b == p) fail("expected a number before '" + t.substr(p, 20) + "'");
    std::string s = t.substr(b, p - b);
    if (isf) {
      double v = strtod(s.c_str(), nullptr);
      if (neg) v = -v;
      o.k = Opnd::FIMM64;
      memcpy(&o.imm, &v, 8);
      return o;
    }
    o.k = Opnd::IMM;
    o.imm = (int64_t)strtoull(s.c_str(), nullptr, 0);
    if (t[p] == 'U') p++;
    if (neg) o.imm = -o.imm;
    return o;
  }

  // -------- variables: after the state-space word.  Parses "[.align N] .type name[dims] [= init]"
  void var_tail(Sp sp, bool ext, bool local_scope) {
    uint32_t align = 0;
    Ty ty = T_NONE;
    int vec = 1;
    for (;;) {
      std::string d = peekdot();
      if (d.empty()) break;
      dot();
      if (d == "align")
        align = (uint32_t)number().imm;
      else if (d == "ptr") {
        // .ptr [.space] [.align N]
      } else if (d == "v2")
        vec = 2;
      else if (d == "v4")
        vec = 4;
      else if (d == "attribute") {
        want('(');
        while (peek() != ')') p++;
        p++;
      } else if (ty_parse(d) != T_NONE)
        ty = ty_parse(d);
    }
    do {
      Var v;
      v.space = sp;
      v.ext = ext;
      v.ty = ty;
      v.name = ident();
      v.line = line;
      uint32_t es = (uint32_t)ty_bytes(ty) * vec;
      v.align = align ? align : es;
      uint64_t n = 1;
      bool unsized = false;
      if (peek() == '<') {  // name<N> : N scalars
        p++;
        int64_t cnt = number().imm;
        want('>');
        std::string base = v.name;
        for (int64_t i = 0; i < cnt; i++) {
          Var w = v;
          w.name = base + std::to_string(i);
          w.size = es;
          put(w, local_scope);
        }
        continue;
      }
      while (acc('[')) {
        if (acc(']')) {
          unsized = true;
          continue;
        }
        n *= (uint64_t)number().imm;
        want(']');
      }
      v.size = unsized ? 0 : n * es;
      if (acc('=')) {
        uint32_t off = 0;
        init(v, off, (uint32_t)ty_bytes(ty));
        if (unsized) v.size = off;
      }
      put(v, local_scope);
    } while (acc(','));
  }
  void put(const Var& v, bool local_scope) {
    if (local_scope) {
      F->scopes[scope].vars[v.name] = (int)F->vars.size();
      F->vars.push_back(v);
    } else
      M.vars.push_back(v);
  }
  void init(Var& v, uint32_t& off, uint32_t es) {
    if (acc('{')) {
      if (!acc('}')) {
        do init(v, off, es);
        while (acc(','));
        want('}');
      }
      return;
    }
    Var::Init in;
    in.off = off;
    in.bytes = es;
    off += es;
    char c = peek();
    if (isdigit((unsigned char)c) || c == '-' || c == '+') {
      // 0xFF(sym) mask form: a byte of an address
      Opnd o = number();
      if (peek() == '(' && o.k == Opnd::IMM) {
        p++;
        in.sym = true;
        int sh = 0;
        uint64_t mk = (uint64_t)o.imm;
        while (mk && !(mk & 0xff)) {
          mk >>= 8;
          sh += 8;
        }
        in.shift = sh;
        std::string id = ident();
        if (id == "generic") {
          in.generic = true;
          want('(');
          id = ident();
          want(')');
        }
        in.name = id;
        if (acc('+')) in.val = number().imm;
        want(')');
      } else {
        in.val = o.imm;
        if (v.ty == T_F32 && o.k == Opnd::FIMM64) {
          double d;
          memcpy(&d, &o.imm, 8);
          float f = (float)d;
          uint32_t b;
          memcpy(&b, &f, 4);
          in.val = b;
        }
        if (v.ty == T_F64 && o.k == Opnd::FIMM32) {
          float f;
          uint32_t b = (uint32_t)o.imm;
          memcpy(&f, &b, 4);
          double d = f;
          memcpy(&in.val, &d, 8);
        }
      }
    } else {
      std::string id = ident();
      in.sym = true;
      if (id == "generic") {
        in.generic = true;
        want('(');
        id = ident();
        want(')');
      }
      in.name = id;
      if (acc('+')) in.val = number().imm;
    }
    v.init.push_back(in);
  }

  void regdecl() {
    Ty ty = T_NONE;
    while (peek() == '.') {
      std::string d = dot();
      Ty x = ty_parse(d);
      if (x != T_NONE)
        ty = x;
      else
        fail(".reg ." + d + " is not supported");
    }
    do {
      std::string n = ident();
      if (acc('<')) {
        int64_t c = number().imm;
        want('>');
        for (int64_t i = 0; i < c; i++) addreg(n + std::to_string(i), ty);
      } else
        addreg(n, ty);
    } while (acc(','));
    want(';');
  }
  int addreg(const std::string& n, Ty ty) {
    int id = (int)F->regs.size();
    F->regs.push_back({n, ty});
    F->scopes[scope].regs[n] = id;
    return id;
  }

  Opnd nameop() {
    Opnd o;
    std::string n = ident();
    if (n == "_") {
      o.k = Opnd::SINK;
      return o;
    }
    int r = F->find(scope, n, 0);
    if (r >= 0) {
      o.k = Opnd::REG;
      o.reg = r;
      return o;
    }
    if (n[0] == '%') {
      if (p < t.size() && t[p] == '.' &&
          (t[p + 1] == 'x' || t[p + 1] == 'y' || t[p + 1] == 'z' || t[p + 1] == 'w')) {
        n += t.substr(p, 2);
        p += 2;
      }
      o.k = Opnd::SREG;
      o.name = n;
      return o;
    }
    if (n == "WARP_SZ") {
      o.k = Opnd::IMM;
      o.imm = 32;
      return o;
    }
    o.k = Opnd::SYM;
    o.name = n;
    return o;
  }
  Opnd operand() {
    char c = peek();
    Opnd o;
    if (c == '{') {
      p++;
      o.k = Opnd::VEC;
      if (!acc('}')) {
        do o.v.push_back(operand());
        while (acc(','));
        want('}');
      }
      return o;
    }
    if (c == '(') {  // call lists
      p++;
      o.k = Opnd::VEC;
      if (!acc(')')) {
        do o.v.push_back(operand());
        while (acc(','));
        want(')');
      }
      return o;
    }
    if (c == '[') {
      p++;
      o.k = Opnd::ADDR;
      char d = peek();
      if (isdigit((unsigned char)d) || d == '-')
        o.imm = number().imm;
      else {
        Opnd b = nameop();
        if (b.k == Opnd::REG)
          o.reg = b.reg;
        else if (b.k == Opnd::SYM)
          o.name = b.name;
        else
          fail("bad address base");
        if (acc('+'))
          o.imm += number().imm;
        else if (peek() == '-')
          o.imm += number().imm;
      }
      // tensor-map form [map, {coords}]
      while (acc(',')) o.v.push_back(operand());
      want(']');
      return o;
    }
    if (c == '!') {
      p++;
      o = nameop();
      o.neg = true;
      return o;
    }
    if (isdigit((unsigned char)c)) return number();
    if (c == '-' || c == '+') {
      size_t q = p + 1;
      while (q < t.size() && isspace((unsigned char)t[q])) q++;
      if (isdigit((unsigned char)t[q])) return number();
      p++;
      o = nameop();
      o.neg = true;
      return o;
    }
    o = nameop();
    if (peek() == '|') {
      p++;
      Opnd q = nameop();
      o.reg2 = q.k == Opnd::SINK ? -2 : q.reg;
      if (o.k == Opnd::SINK) {
        o.k = Opnd::REG;
        o.reg = -2;
      }
    } else if (o.k == Opnd::SYM && peek() == '+') {
      p++;
      o.imm = number().imm;
    }
    return o;
  }

  void body() {
    want('{');
    int depth = 1;
    while (depth) {
      if (eof()) fail("unexpected end of file");
      char c = peek();
      if (c == '{') {
        p++;
        depth++;
        Scope s;
        s.parent = scope;
        F->scopes.push_back(s);
        scope = (int)F->scopes.size() - 1;
        continue;
      }
      if (c == '}') {
        p++;
        depth--;
        if (depth) scope = F->scopes[scope].parent;
        continue;
      }
      if (c == ';') {
        p++;
        continue;
      }
      if (c == '.') {
        std::string d = dot();
        if (d == "reg")
          regdecl();
        else if (d == "local") {
          var_tail(Sp::Local, false, true);
          want(';');
        } else if (d == "shared" || d == "shared::cta") {
          var_tail(Sp::Shared, false, true);
          want(';');
        } else if (d == "param") {
          var_tail(Sp::Param, false, true);
          want(';');
        } else if (d == "global") {
          var_tail(Sp::Global, false, true);
          want(';');
        } else if (d == "const") {
          var_tail(Sp::Const, false, true);
          want(';');
        } else if (d == "loc") {
          locfile = (int)number().imm;
          locline = (int)number().imm;
          eol();
        } else if (d == "file")
          eol();
        else if (d == "pragma") {
          while (peek() != ';') {
            if (peek() == '"')
              str();
            else
              p++;
          }
          p++;
        } else {
          while (p < t.size() && t[p] != ';' && t[p] != '\n') p++;
          if (p < t.size() && t[p] == ';') p++;
        }
        continue;
      }
      Stmt s;
      if (c == '@') {
        p++;
        s.gneg = acc('!');
        std::string g = ident();
        s.guard = F->find(scope, g, 0);
        if (s.guard < 0) fail("unknown predicate " + g);
      }
      ws();
      s.line = line;
      size_t b = p;
      while (p < t.size() &&
             (idc(t[p]) || t[p] == '.' || (t[p] == ':' && p + 1 < t.size() && t[p + 1] == ':' && (p += 1))))
        p++;
      std::string w = t.substr(b, p - b);
      if (w.empty()) fail("unexpected '" + t.substr(p, 20) + "'");
      if (s.guard < 0 && w.find('.') == std::string::npos && peek() == ':') {
        p++;
        std::string d = peekdot();
        if (d == "branchtargets" || d == "calltargets" || d == "callprototype") {
          dot();
          if (d == "branchtargets") {
            std::vector<std::string> tab;
            do tab.push_back(ident());
            while (acc(','));
            F->scopes[scope].tables[w] = (int)F->tables.size();
            F->tables.push_back(tab);
            want(';');
          } else {
            while (peek() != ';') p++;
            p++;
          }
        } else {
          F->scopes[scope].labels[w] = (int)F->labelpos.size();
          F->labelpos.push_back((int)F->body.size());
        }
        continue;
      }
      s.text = w;
      s.scope = scope;
      s.file = locfile;
      s.fline = locline;
      size_t i = 0;
      while (i <= w.size()) {
        size_t j = w.find('.', i);
        if (j == std::string::npos) j = w.size();
        s.op.push_back(w.substr(i, j - i));
        i = j + 1;
      }
      while (peek() != ';') {
        s.o.push_back(operand());
        if (!acc(',')) break;
      }
      want(';');
      F->body.push_back(std::move(s));
    }
    scope = 0;
  }

  void params(std::vector<int>& out, const char*) {
    want('(');
    if (acc(')')) return;
    do {
      std::string d = dot();
      if (d == "param") {
        size_t before = F->vars.size();
        // one declarator only: commas separate parameters
        uint32_t align = 0;
        Ty ty = T_NONE;
        for (;;) {
          std::string q = peekdot();
          if (q.empty()) break;
          dot();
          if (q == "align") {
            uint32_t a = (uint32_t)number().imm;
            if (ty == T_NONE) align = a;
          } else if (ty_parse(q) != T_NONE)
            ty = ty_parse(q);
        }
        Var v;
        v.space = Sp::Param;
        v.ty = ty;
        v.line = line;
        v.name = ident();
        uint32_t es = (uint32_t)ty_bytes(ty);
        v.align = align ? align : es;
        uint64_t n = 1;
        while (acc('[')) {
          if (acc(']')) {
            n = 0;
            continue;
          }
          n *= (uint64_t)number().imm;
          want(']');
        }
        v.size = n * es;
        put(v, true);
        out.push_back((int)before);
      } else if (d == "reg") {
        Ty ty = T_NONE;
        while (peek() == '.') {
          std::string q = dot();
          if (ty_parse(q) != T_NONE) ty = ty_parse(q);
        }
        Var v;
        v.space = Sp::None;
        v.ty = ty;
        v.name = ident();
        v.isreg = addreg(v.name, ty);
        v.size = ty_bytes(ty);
        out.push_back((int)F->vars.size());
        F->vars.push_back(v);
      } else
        fail("unexpected parameter space ." + d);
    } while (acc(','));
    want(')');
  }

  void function(bool entry) {
    auto f = std::make_unique<Function>();
    F = f.get();
    F->entry = entry;
    F->file = M.name;
    F->line = line;
    F->scopes.emplace_back();
    scope = 0;
    locfile = locline = 0;
    while (peekdot() == "attribute") {
      dot();
      want('(');
      while (peek() != ')') p++;
      p++;
    }
    if (peek() == '(') params(F->rets, "ret");
    F->name = ident();
    if (peek() == '(') params(F->params, "param");
    // performance directives
    while (peek() == '.') {
      std::string d = dot();
      std::vector<uint32_t> nums;
      while (isdigit((unsigned char)peek())) {
        nums.push_back((uint32_t)number().imm);
        if (!acc(',')) break;
      }
      if (peek() == '"') str();
      uint32_t* dst = d == "maxntid" ? F->maxntid : d == "reqntid" ? F->reqntid : nullptr;
      if (dst)
        for (int i = 0; i < 3; i++) dst[i] = i < (int)nums.size() ? nums[i] : 1;
      if (d == "reqnctapercluster")
        for (uint32_t x : nums)
          if (x > 1) fail("clusters of more than one block are not supported");
      if (d == "pragma") acc(';');
    }
    if (peek() == '{') {
      F->defined = true;
      body();
    } else
      want(';');
    F = nullptr;
    // a definition replaces a prior declaration
    for (auto& g : M.funcs)
      if (g->name == f->name) {
        if (f->defined) g = std::move(f);
        return;
      }
    M.funcs.push_back(std::move(f));
  }

  void module() {
    while (!eof()) {
      if (peek() != '.') fail("unexpected '" + t.substr(p, 30) + "'");
      bool ext = false;
      std::string d = dot();
      while (d == "visible" || d == "extern" || d == "weak" || d == "common") {
        if (d == "extern") ext = true;
        d = dot();
      }
      if (d == "version") {
        ws();
        size_t b = p;
        eol();
        M.version = t.substr(b, p - b);
      } else if (d == "target") {
        ws();
        size_t b = p;
        eol();
        M.target = t.substr(b, p - b);
      } else if (d == "address_size") {
        if (number().imm != 64) fail("only 64-bit addresses are supported");
      } else if (d == "file") {
        int n = (int)number().imm;
        M.files[n] = str();
        eol();
      } else if (d == "section") {
        while (peek() != '{') p++;
        while (p < t.size() && t[p] != '}') {
          if (t[p] == '\n') line++;
          p++;
        }
        p++;
      } else if (d == "pragma") {
        str();
        acc(';');
      } else if (d == "alias") {
        while (peek() != ';') p++;
        p++;
      } else if (d == "entry")
        function(true);
      else if (d == "func")
        function(false);
      else if (d == "global") {
        var_tail(Sp::Global, ext, false);
        want(';');
      } else if (d == "const") {
        var_tail(Sp::Const, ext, false);
        want(';');
      } else if (d == "shared") {
        var_tail(Sp::Shared, ext, false);
        want(';');
      } else if (d == "loc")
        eol();
      else
        fail("unsupported directive ." + d);
    }
  }
};

}  // namespace

std::unique_ptr<Module> parse_ptx(const std::string& text, const std::string& name) {
  auto m = std::make_unique<Module>();
  m->name = name;
  std::string padded = text + "\n\0\0\0";
  padded.append(64, '\0');
  padded.resize(text.size() + 1);
  Parser ps(padded, *m);
  ps.module();
  return m;
}

}  // namespace ptxrun
