// Training kernels for the rows of a packed batch: dropout + residual + LayerNorm, dropout, forward and backward; and the keys of dropout.
//
// Notation: t rows, d width.
#include "lanes.h"

namespace {

constexpr long PARTS = 8;  // partial sums over rows, whatever the number of threads

inline uint32_t mixed(uint32_t word) {
    word = (word ^ (word >> 16)) * 0x7FEB352DU;
    word = (word ^ (word >> 15)) * 0x846CA68BU;
    return word ^ (word >> 16);
}

// sums (width,) of the partial sums (PARTS, width)
void add_parts(const float* parts, float* sums, long width) {
    std::memcpy(sums, parts, width * sizeof(float));
    for (long part = 1; part < PARTS; part++)
#pragma omp simd
        for (long i = 0; i < width; i++) sums[i] += parts[part * width + i];
}

}  // namespace

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

// keys (t,) of rows: the hash of row_keys in nlphub/kernels/reference.py, after the word of their site.
PUBLIC void row_keys(uint32_t word, const int64_t* examples, const int64_t* positions, long t, int32_t* keys) {
#pragma omp simd
    for (long row = 0; row < t; row++)
        keys[row] = static_cast<int32_t>(mixed(mixed(static_cast<uint32_t>(examples[row]) ^ word) ^ static_cast<uint32_t>(positions[row])));
}
