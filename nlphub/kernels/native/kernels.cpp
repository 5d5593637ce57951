// Training kernels for packed rows on a CPU: attention, dropout + residual + LayerNorm, bias + GELU, dropout; forward and backward.
//
// float32, plain C interface; compiled for the processor at hand by build.py. Every sum is taken in an order that does not depend on
// the number of threads, so results have the same bits with any. Dropout masks are the hash of nlphub/kernels/reference.py.
// Notation: t rows, d width, b sequences, n tokens of one, h heads, k width of a head.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>
#define PUBLIC extern "C" __attribute__((visibility("default")))

namespace {

constexpr long LANES = 16;  // values of a row that a small matrix product computes together ...
#ifdef __AVX512F__
constexpr long ROWS = 8;  // ... of so many rows: sums that fit into registers
#else
constexpr long ROWS = 4;
#endif
constexpr long PARTS = 8;  // partial sums over rows, whatever the number of threads
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

inline bool kept(int32_t row, int32_t column, int32_t least) {
    uint32_t word = static_cast<uint32_t>(row ^ column) * 0x7FEB352DU;
    word ^= static_cast<uint32_t>(static_cast<int32_t>(word) >> 15);
    return static_cast<int32_t>(word * 0x846CA68BU) >= least;
}

// e^x for x <= 0 or slightly above, to 2 units in the last place (Cephes); NaN stays NaN.
inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x;
    float whole = std::floor(x * 1.44269504f + 0.5f);
    float rest = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float sum = 1.9875691500e-4f;
    sum = sum * rest + 1.3981999507e-3f;
    sum = sum * rest + 8.3334519073e-3f;
    sum = sum * rest + 4.1665795894e-2f;
    sum = sum * rest + 1.6666665459e-1f;
    sum = sum * rest + 5.0000001201e-1f;
    sum = sum * rest * rest + rest + 1.0f;
    return sum * __builtin_bit_cast(float, (static_cast<int32_t>(whole) + 127) << 23);
}

// The normal distribution function at x, and its density times sqrt(2 pi); erf by Abramowitz and Stegun 7.1.26 (error 1.5e-7).
inline void normal(float x, float& below, float& bell) {
    float size = std::fabs(x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.3275911f * size);
    bell = exponential(-size * size);
    float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f)))) * bell * 0.5f;
    below = x < 0.0f ? tail : 1.0f - tail;
}

inline long padded(long n) { return (n + LANES - 1) / LANES * LANES; }

// c (m, n) = a (m, depth) b (depth, n) for row-major b and c whose rows are padded to LANES; a lies at any strides.
template <int R>
inline void tile(const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long depth) {
    Lanes sums[R] = {};
    for (long i = 0; i < depth; i++) {
        Lanes values = *reinterpret_cast<const Lanes*>(b + i * b_row);
        for (int r = 0; r < R; r++) sums[r] += a[r * down + i * right] * values;
    }
    for (int r = 0; r < R; r++) *reinterpret_cast<Lanes*>(c + r * c_row) = sums[r];
}

void product(const float* a, long down, long right, const float* b, long b_row, float* c, long c_row, long m, long n, long depth) {
    for (long column = 0; column < n; column += LANES) {
        long row = 0;
        const float* from = b + column;
        for (; row + ROWS <= m; row += ROWS) tile<ROWS>(a + row * down, down, right, from, b_row, c + row * c_row + column, c_row, depth);
        for (; row + 2 <= m; row += 2) tile<2>(a + row * down, down, right, from, b_row, c + row * c_row + column, c_row, depth);
        if (row < m) tile<1>(a + row * down, down, right, from, b_row, c + row * c_row + column, c_row, depth);
    }
}

inline void copy(const float* from, float* to, long count) {  // of a row: too short for a call of memcpy
    long i = 0;
    for (; i + LANES <= count; i += LANES) *reinterpret_cast<Lanes*>(to + i) = *reinterpret_cast<const Lanes*>(from + i);
    for (; i < count; i++) to[i] = from[i];
}

// Rows (n, k) of a packed tensor, as they are with rows padded to LANES by zeros ...
void copy_rows(const float* from, long stride, float* to, long n, long k) {
    for (long i = 0; i < n; i++, from += stride, to += padded(k)) {
        *reinterpret_cast<Lanes*>(to + padded(k) - LANES) = Lanes{};
        copy(from, to, k);
    }
}

// ... or as columns (k, n padded to LANES).
void copy_columns(const float* from, long stride, float* to, long n, long k) {
    long width = padded(n);
    for (long j = 0; j < k; j++) {
        for (long i = 0; i < n; i++) to[j * width + i] = from[i * stride + j];
        for (long i = n; i < width; i++) to[j * width + i] = 0.0f;
    }
}

void put_rows(const float* from, float* to, long stride, long n, long k) {
    for (long i = 0; i < n; i++) copy(from + i * padded(k), to + i * stride, k);
}
struct Heads {  // how queries, keys and values of a batch lie
    const float *q, *k, *v;
    long q_stride, k_stride, v_stride;  // of rows, in floats
    const int32_t *starts, *lengths;    // (b,) of sequences
    long sequences, heads, size, single;  // single: one query a sequence
    const int32_t *keys, *columns;      // (query rows,) and (h, longest) of dropout; null = none
    long longest;
    int32_t least;
    float scale;
};

long first_query(const Heads& x, long s) { return x.single ? s : x.starts[s]; }

// Probabilities before dropout, (queries, padded(n)), of one head: from the scores, which are scaled here.
void softmax(float* scores, float* norm, long queries, long n, float scale) {
    long width = padded(n);
    for (long i = 0; i < queries; i++) {
        float *row = scores + i * width, most = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : most)
        for (long j = 0; j < n; j++) most = row[j] > most ? row[j] : most;
#pragma omp simd reduction(+ : sum)
        for (long j = 0; j < n; j++) sum += row[j] = exponential((row[j] - most) * scale);
        float by = 1.0f / sum;
#pragma omp simd
        for (long j = 0; j < n; j++) row[j] *= by;
        norm[i] = most * scale + std::log(sum);
    }
}

void again(float* scores, const float* norm, long queries, long n, float scale) {  // the same, when the norms are known
    long width = padded(n);
    for (long i = 0; i < queries; i++) {
        float *row = scores + i * width, minus = norm[i];
#pragma omp simd
        for (long j = 0; j < n; j++) row[j] = exponential(row[j] * scale - minus);
    }
}

// factors (queries, padded(n)): 0 or the scale of dropout
void draw(const Heads& x, long sequence, long head, long queries, long n, float* factors) {
    const int32_t *columns = x.columns + head * x.longest, *keys = x.keys + first_query(x, sequence), least = x.least;
    const float scale = x.scale;
    for (long i = 0; i < queries; i++) {
        const int32_t row = keys[i];
        float* to = factors + i * padded(n);
#pragma omp simd
        for (long j = 0; j < n; j++) to[j] = kept(row, columns[j], least) ? scale : 0.0f;
    }
}

void attend(const Heads& x, long s, long head, float* out, long out_stride, float* norms, std::vector<float>& room) {
    long n = x.lengths[s], queries = x.single ? 1 : n, k = x.size, wide = padded(n), narrow = padded(k), first = x.starts[s];
    room.resize(k * wide + n * narrow + queries * (2 * wide + narrow));
    float *keys = room.data(), *values = keys + k * wide, *scores = values + n * narrow, *factors = scores + queries * wide;
    float* mixed = factors + queries * wide;
    long asked = first_query(x, s);
    copy_columns(x.k + first * x.k_stride + head * k, x.k_stride, keys, n, k);
    copy_rows(x.v + first * x.v_stride + head * k, x.v_stride, values, n, k);
    product(x.q + asked * x.q_stride + head * k, x.q_stride, 1, keys, wide, scores, wide, queries, wide, k);
    softmax(scores, norms + head * queries, queries, n, 1.0f / std::sqrt(static_cast<float>(k)));
    if (x.keys) {
        draw(x, s, head, queries, n, factors);
        for (long i = 0; i < queries; i++)
#pragma omp simd
            for (long j = 0; j < n; j++) scores[i * wide + j] *= factors[i * wide + j];
    }
    product(scores, wide, 1, values, narrow, mixed, narrow, queries, narrow, n);
    put_rows(mixed, out + asked * out_stride + head * k, out_stride, queries, k);
}

void attend_back(const Heads& x, long s, long head, const float* grad, const float* norms, float* dq, float* dk, float* dv,
                 std::vector<float>& room) {
    long n = x.lengths[s], queries = x.single ? 1 : n, k = x.size, wide = padded(n), narrow = padded(k), first = x.starts[s];
    long asked = first_query(x, s), d = x.heads * k;
    float scale = 1.0f / std::sqrt(static_cast<float>(k));
    room.resize(2 * k * wide + 2 * n * narrow + 2 * queries * narrow + 3 * queries * wide);
    float *columns = room.data(), *values = columns + k * wide, *keys = values + k * wide, *result = keys + n * narrow;
    float *query = result + n * narrow, *given = query + queries * narrow, *weights = given + queries * narrow;
    float *slopes = weights + queries * wide, *factors = slopes + queries * wide;
    const float* asking = x.q + asked * x.q_stride + head * k;
    copy_columns(x.k + first * x.k_stride + head * k, x.k_stride, columns, n, k);
    copy_columns(x.v + first * x.v_stride + head * k, x.v_stride, values, n, k);
    copy_rows(x.k + first * x.k_stride + head * k, x.k_stride, keys, n, k);
    copy_rows(asking, x.q_stride, query, queries, k);
    copy_rows(grad + asked * d + head * k, d, given, queries, k);
    product(asking, x.q_stride, 1, columns, wide, weights, wide, queries, wide, k);
    again(weights, norms + head * queries, queries, n, scale);
    product(given, narrow, 1, values, wide, slopes, wide, queries, wide, k);
    if (x.keys) draw(x, s, head, queries, n, factors);
    for (long i = 0; i < queries; i++) {
        float *weight = weights + i * wide, *slope = slopes + i * wide, *factor = factors + i * wide, sum = 0.0f;
        if (x.keys)
#pragma omp simd
            for (long j = 0; j < n; j++) slope[j] *= factor[j];
#pragma omp simd reduction(+ : sum)
        for (long j = 0; j < n; j++) sum += slope[j] * weight[j];
#pragma omp simd
        for (long j = 0; j < n; j++) slope[j] = (slope[j] - sum) * weight[j] * scale;
        if (x.keys)
#pragma omp simd
            for (long j = 0; j < n; j++) weight[j] *= factor[j];
    }
    product(slopes, wide, 1, keys, narrow, result, narrow, queries, narrow, n);
    put_rows(result, dq + asked * d + head * k, d, queries, k);
    product(slopes, 1, wide, query, narrow, result, narrow, n, narrow, queries);
    put_rows(result, dk + first * d + head * k, d, n, k);
    product(weights, 1, wide, given, narrow, result, narrow, n, narrow, queries);
    put_rows(result, dv + first * d + head * k, d, n, k);
}

// sums (width,) of the partial sums (PARTS, width)
void add_parts(const float* parts, float* sums, long width) {
    std::memcpy(sums, parts, width * sizeof(float));
    for (long part = 1; part < PARTS; part++)
#pragma omp simd
        for (long i = 0; i < width; i++) sums[i] += parts[part * width + i];
}

}  // namespace

// out (queries, h k) and norms (queries, h): logarithms of the sums of the softmax. Sequences from b - 1 down: the longest first.
PUBLIC void attention_forward(const Heads* x, float* out, float* norms) {
#pragma omp parallel
    {
        std::vector<float> room;
#pragma omp for collapse(2) schedule(dynamic)
        for (long s = x->sequences - 1; s >= 0; s--)
            for (long head = 0; head < x->heads; head++)
                attend(*x, s, head, out, x->heads * x->size, norms + first_query(*x, s) * x->heads, room);
    }
}

// dq as q, dk and dv as k, all contiguous; grad as out.
PUBLIC void attention_backward(const Heads* x, const float* grad, const float* norms, float* dq, float* dk, float* dv) {
#pragma omp parallel
    {
        std::vector<float> room;
#pragma omp for collapse(2) schedule(dynamic)
        for (long s = x->sequences - 1; s >= 0; s--)
            for (long head = 0; head < x->heads; head++)
                attend_back(*x, s, head, grad, norms + first_query(*x, s) * x->heads, dq, dk, dv, room);
    }
}

// out = LayerNorm(residual + dropout(x)), all (t, d); plain (t, d) is what stood before weight and bias, by (t,) what it was scaled with.
PUBLIC void add_norm_forward(const float* x, const float* residual, const float* weight, const float* bias, const int32_t* keys,
                             const int32_t* columns, int32_t least, float scale, float eps, long t, long d,
                             float* out, float* plain, float* by) {
#pragma omp parallel for
    for (long row = 0; row < t; row++) {
        const float *from = x + row * d, *old = residual + row * d;
        float *to = out + row * d, *z = plain + row * d, mean = 0.0f, spread = 0.0f;
        if (keys) {
            int32_t key = keys[row];
#pragma omp simd reduction(+ : mean)
            for (long i = 0; i < d; i++) mean += z[i] = old[i] + from[i] * (kept(key, columns[i], least) ? scale : 0.0f);
        } else {
#pragma omp simd reduction(+ : mean)
            for (long i = 0; i < d; i++) mean += z[i] = old[i] + from[i];
        }
        mean /= d;
#pragma omp simd reduction(+ : spread)
        for (long i = 0; i < d; i++) spread += (z[i] - mean) * (z[i] - mean);
        float factor = by[row] = 1.0f / std::sqrt(spread / d + eps);
#pragma omp simd
        for (long i = 0; i < d; i++) {
            z[i] = (z[i] - mean) * factor;
            to[i] = z[i] * weight[i] + bias[i];
        }
    }
}

// dx (the same memory as dresidual without dropout), dresidual (t, d); dweight, dbias (d,).
PUBLIC void add_norm_backward(const float* grad, const float* plain, const float* by, const float* weight, const int32_t* keys,
                              const int32_t* columns, int32_t least, float scale, long t, long d,
                              float* dx, float* dresidual, float* dweight, float* dbias) {
    std::vector<float> parts(2 * PARTS * d, 0.0f);
    float *weights = parts.data(), *biases = weights + PARTS * d;
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++)
        for (long row = part * t / PARTS; row < (part + 1) * t / PARTS; row++) {
            const float *g = grad + row * d, *z = plain + row * d;
            float *to = dresidual + row * d, *dropped = dx + row * d, *w = weights + part * d, *b = biases + part * d;
            float sum = 0.0f, along = 0.0f;
#pragma omp simd reduction(+ : sum, along)
            for (long i = 0; i < d; i++) {
                float slope = g[i] * weight[i];
                sum += slope;
                along += slope * z[i];
                w[i] += g[i] * z[i];
                b[i] += g[i];
            }
            sum /= d, along /= d;
            float factor = by[row];
#pragma omp simd
            for (long i = 0; i < d; i++) to[i] = (g[i] * weight[i] - sum - along * z[i]) * factor;
            if (!keys) continue;
            int32_t key = keys[row];
#pragma omp simd
            for (long i = 0; i < d; i++) dropped[i] = to[i] * (kept(key, columns[i], least) ? scale : 0.0f);
        }
    add_parts(weights, dweight, d);
    add_parts(biases, dbias, d);
}

// x (t, d) becomes x + bias, and out = gelu(x) in its erf form.
PUBLIC void bias_gelu_forward(float* x, const float* bias, long t, long d, float* out) {
#pragma omp parallel for
    for (long row = 0; row < t; row++) {
        float *from = x + row * d, *to = out + row * d;
#pragma omp simd
        for (long i = 0; i < d; i++) {
            float value = from[i] += bias[i], below, bell;
            normal(value, below, bell);
            to[i] = value * below;
        }
    }
}

// dx (t, d) and dbias (d,), for x as the forward pass left it.
PUBLIC void bias_gelu_backward(const float* x, const float* grad, long t, long d, float* dx, float* dbias) {
    std::vector<float> parts(PARTS * d, 0.0f);
#pragma omp parallel for
    for (long part = 0; part < PARTS; part++)
        for (long row = part * t / PARTS; row < (part + 1) * t / PARTS; row++) {
            const float *from = x + row * d, *g = grad + row * d;
            float *to = dx + row * d, *sums = parts.data() + part * d;
#pragma omp simd
            for (long i = 0; i < d; i++) {
                float below, bell;
                normal(from[i], below, bell);
                to[i] = g[i] * (below + from[i] * bell * 0.39894228f);
                sums[i] += to[i];
            }
        }
    add_parts(parts.data(), dbias, d);
}

// out = x with values zeroed and the others scaled, (t, d); its own backward pass.
PUBLIC void dropout(const float* x, const int32_t* keys, const int32_t* columns, int32_t least, float scale, long t, long d, float* out) {
#pragma omp parallel for
    for (long row = 0; row < t; row++) {
        const float* from = x + row * d;
        float* to = out + row * d;
        int32_t key = keys[row];
#pragma omp simd
        for (long i = 0; i < d; i++) to[i] = from[i] * (kept(key, columns[i], least) ? scale : 0.0f);
    }
}
