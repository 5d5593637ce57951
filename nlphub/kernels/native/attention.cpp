// Softmax attention over packed sequences, forward and backward, one sequence and head at a time.
//
// Notation: b sequences, n tokens of one, h heads, k width of a head; rows of scores are padded to whole vectors.
#include "lanes.h"

namespace {

struct Heads {  // how queries, keys and values of a batch lie
    const float *q, *k, *v;
    long q_stride, k_stride, v_stride;  // of rows, in floats
    const int32_t *starts, *lengths;    // (b,) of sequences
    long sequences, heads, size, single;  // single: one query a sequence
    const int32_t *keys, *columns;      // (query rows,) and (h, wide) of dropout; null = none
    long wide;                          // longest sequence, padded
    int32_t least;
    float scale;
};

struct Part {  // one sequence and head
    long n, queries, k, wide, narrow;  // tokens; queries; width of a head; n and k padded
    const float *q, *k_rows, *v;       // their first rows
    const int32_t *keys, *columns;     // of dropout, or null
    long asked;                        // number of the first query
};

long first_query(const Heads& x, long s) { return x.single ? s : x.starts[s]; }

Part part(const Heads& x, long s, long head) {
    long n = x.lengths[s], asked = first_query(x, s), first = x.starts[s], column = head * x.size;
    const float *q = x.q + asked * x.q_stride + column, *k = x.k + first * x.k_stride + column, *v = x.v + first * x.v_stride + column;
    const int32_t *keys = x.keys ? x.keys + asked : nullptr, *columns = x.columns + head * x.wide;
    return {n, x.single ? 1 : n, x.size, padded(n), padded(x.size), q, k, v, keys, columns, asked};
}

// k numbers; a last vector overlaps the one before it. Too short for a call of memcpy.
inline void copy(const float* from, float* to, long k) {
    if (k < LANES) {
        for (long i = 0; i < k; i++) to[i] = from[i];
        return;
    }
    for (long i = 0; i < k - LANES; i += LANES) store(to + i, load(from + i));
    store(to + k - LANES, load(from + k - LANES));
}

// Rows (n, k) of a packed tensor, as they are with rows padded by zeros ...
void copy_rows(const float* from, long stride, float* to, long n, long k) {
    for (long i = 0; i < n; i++, from += stride, to += padded(k)) {
        store(to + padded(k) - LANES, Lanes{});
        copy(from, to, k);
    }
}

// ... or as columns (k, n padded).
void copy_columns(const float* from, long stride, float* to, long n, long k) {
    long wide = padded(n);
    for (long j = 0; j < k; j++, to += wide) {
        store(to + wide - LANES, Lanes{});
        for (long i = 0; i < n; i++) to[i] = from[i * stride + j];
    }
}

void put_rows(const float* from, float* to, long stride, long n, long k) {
    for (long i = 0; i < n; i++) copy(from + i * padded(k), to + i * stride, k);
}

// Scores (queries, wide) become probabilities after dropout.
void softmax(const Heads& x, const Part& p, float* scores, float* norms, float scale) {
    Lanes edge = {};  // keeps what stands behind the last token from being the largest, or a part of the sum
    for (long i = p.n - p.wide + LANES; i < LANES; i++) edge[i] = -INFINITY;
    for (long i = 0; i < p.queries; i++) {
        float* row = scores + i * p.wide;
        store(row + p.wide - LANES, load(row + p.wide - LANES) + edge);
        Lanes most = load(row), sum = {};
        for (long j = LANES; j < p.wide; j += LANES) most = load(row + j) > most ? load(row + j) : most;
        float top = largest(most) * scale;
        for (long j = 0; j < p.wide; j += LANES) {
            Lanes value = exponential(load(row + j) * scale - top);
            store(row + j, value);
            sum += value;
        }
        float by = 1.0f / total(sum);
        norms[2 * i] = top, norms[2 * i + 1] = by;
        if (!p.keys) {
            for (long j = 0; j < p.wide; j += LANES) store(row + j, load(row + j) * by);
            continue;
        }
        const Lanes factor = Lanes{} + by * x.scale;
        for (long j = 0; j < p.wide; j += LANES)
            store(row + j, load(row + j) * (kept(p.keys[i], load(p.columns + j), x.least) ? factor : Lanes{}));
    }
}

// The gradient of the scores (queries, wide), in slopes, and the probabilities after dropout, in weights; before, these hold the scores,
// and slopes the gradient of the probabilities after dropout.
void softmax_back(const Heads& x, const Part& p, float* weights, float* slopes, float* plain, const float* norms, float scale) {
    const Lanes factor = Lanes{} + x.scale;
    for (long i = 0; i < p.queries; i++) {
        float *weight = weights + i * p.wide, *slope = slopes + i * p.wide, top = norms[2 * i], by = norms[2 * i + 1];
        Lanes sum = {};
        for (long j = 0; j < p.wide; j += LANES) {
            Lanes value = exponential(load(weight + j) * scale - top) * by, given = load(slope + j), dropped = value;
            if (p.keys) {
                Lanes drop = kept(p.keys[i], load(p.columns + j), x.least) ? factor : Lanes{};
                given *= drop, dropped *= drop;
            }
            sum += given * value;
            store(plain + j, value), store(slope + j, given), store(weight + j, dropped);
        }
        float along = total(sum);
        for (long j = 0; j < p.wide; j += LANES) store(slope + j, (load(slope + j) - along) * load(plain + j) * scale);
    }
}

void attend(const Heads& x, const Part& p, float* out, long stride, float* norms, Room& room) {
    float* keys = room.of(p.k * p.wide + p.n * p.narrow + p.queries * (p.wide + p.narrow));
    float *values = keys + p.k * p.wide, *scores = values + p.n * p.narrow, *mixed = scores + p.queries * p.wide;
    copy_columns(p.k_rows, x.k_stride, keys, p.n, p.k);
    copy_rows(p.v, x.v_stride, values, p.n, p.k);
    product(p.q, x.q_stride, 1, keys, p.wide, scores, p.wide, p.queries, p.wide, p.k);
    softmax(x, p, scores, norms, 1.0f / std::sqrt(static_cast<float>(p.k)));
    product(scores, p.wide, 1, values, p.narrow, mixed, p.narrow, p.queries, p.narrow, p.n);
    put_rows(mixed, out, stride, p.queries, p.k);
}

void attend_back(const Heads& x, const Part& p, const float* grad, const float* norms, float* dq, float* dk, float* dv, Room& room) {
    float* columns = room.of(2 * (p.k * p.wide + p.n * p.narrow + p.queries * (p.narrow + p.wide)) + p.wide);
    float *values = columns + p.k * p.wide, *keys = values + p.k * p.wide, *result = keys + p.n * p.narrow;
    float *query = result + p.n * p.narrow, *given = query + p.queries * p.narrow, *weights = given + p.queries * p.narrow;
    float *slopes = weights + p.queries * p.wide, *plain = slopes + p.queries * p.wide;
    copy_columns(p.k_rows, x.k_stride, columns, p.n, p.k);
    copy_columns(p.v, x.v_stride, values, p.n, p.k);
    copy_rows(p.k_rows, x.k_stride, keys, p.n, p.k);
    copy_rows(p.q, x.q_stride, query, p.queries, p.k);
    copy_rows(grad, x.heads * p.k, given, p.queries, p.k);
    product(query, p.narrow, 1, columns, p.wide, weights, p.wide, p.queries, p.wide, p.k);
    product(given, p.narrow, 1, values, p.wide, slopes, p.wide, p.queries, p.wide, p.k);
    softmax_back(x, p, weights, slopes, plain, norms, 1.0f / std::sqrt(static_cast<float>(p.k)));
    product(slopes, p.wide, 1, keys, p.narrow, result, p.narrow, p.queries, p.narrow, p.n);
    put_rows(result, dq, x.q_stride, p.queries, p.k);
    product(slopes, 1, p.wide, query, p.narrow, result, p.narrow, p.n, p.narrow, p.queries);
    put_rows(result, dk, x.k_stride, p.n, p.k);
    product(weights, 1, p.wide, given, p.narrow, result, p.narrow, p.n, p.narrow, p.queries);
    put_rows(result, dv, x.v_stride, p.n, p.k);
}

thread_local Room room;

// each(part, number of the sequence, column of the head) for all of them, from sequence b - 1 down: the longest first.
template <class Each>
void for_every_part(const Heads& x, Each each) {
#pragma omp parallel for collapse(2) schedule(dynamic, 4)
    for (long s = x.sequences - 1; s >= 0; s--)
        for (long head = 0; head < x.heads; head++) {
            Part p = part(x, s, head);
            if (p.n) each(p, s, head);
        }
}

}  // namespace

// out (queries, h k) and norms (queries, h, 2): of each softmax the largest score, and one by the sum.
PUBLIC void attention_forward(const Heads* x, float* out, float* norms) {
    long d = x->heads * x->size;
    for_every_part(*x, [&](const Part& p, long, long head) {
        attend(*x, p, out + p.asked * d + head * p.k, d, norms + 2 * (p.asked * x->heads + head * p.queries), room);
    });
}

// dq as q, dk and dv as k and v, at the same strides; grad as out.
PUBLIC void attention_backward(const Heads* x, const float* grad, const float* norms, float* dq, float* dk, float* dv) {
    for_every_part(*x, [&](const Part& p, long s, long head) {
        long column = head * p.k, first = x->starts[s];
        const float *given = grad + p.asked * x->heads * p.k + column, *norm = norms + 2 * (p.asked * x->heads + head * p.queries);
        float *to_k = dk + first * x->k_stride + column, *to_v = dv + first * x->v_stride + column;
        attend_back(*x, p, given, norm, dq + p.asked * x->q_stride + column, to_k, to_v, room);
    });
}
