// Update rules, with moments in float32 and in bytes.
#include "check.h"

enum { steps = 5 };

static void adamw(long count) {
  float *w = random_floats(count, 1), *m = floats(count), *v = floats(count);
  double *y = doubles(count), *ym = doubles(count), *yv = doubles(count);
  for (long i = 0; i < count; i++) y[i] = w[i];
  double rate = 0.01, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, decay = 0.1, scale = 0.5;
  for (int t = 1; t <= steps; t++) {
    float *g = random_floats(count, (uint64_t)t + 10);
    ck_adamw_step step = {
      .learning_rate = (float)rate,
      .beta1 = (float)beta1,
      .rest1 = (float)(1 - beta1),
      .beta2 = (float)beta2,
      .rest2 = (float)(1 - beta2),
      .epsilon = (float)epsilon,
      .weight_decay = (float)decay,
      .correction1 = (float)(1 - pow(beta1, t)),
      .correction2 = (float)(1 - pow(beta2, t)),
      .gradient_scale = (float)scale};
    ck_adamw(w, g, m, v, &step, 0, count / 2);
    ck_adamw(w, g, m, v, &step, count / 2, count);
    for (long i = 0; i < count; i++) {
      double d = g[i] * scale;
      ym[i] += (1 - beta1) * (d - ym[i]);
      yv[i] = yv[i] * beta2 + (1 - beta2) * d * d;
      y[i] = y[i] * (1 - rate * decay)
        - rate / (1 - pow(beta1, t)) * ym[i] / (sqrt(yv[i]) / sqrt(1 - pow(beta2, t)) + epsilon);
    }
    free(g);
  }
  expect_close(w, y, count, 1e-6, "AdamW weights, %ld", count);
  expect_close(m, ym, count, 1e-6, "AdamW first moments, %ld", count);
  expect_close(v, yv, count, 2e-6, "AdamW second moments, %ld", count);
  void *all[] = {w, m, v, y, ym, yv};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void lion_and_sgd(long count) {
  float *w = random_floats(count, 1), *m = floats(count), *w2 = random_floats(count, 1), *buffer = floats(count);
  double *y = doubles(count), *ym = doubles(count), *y2 = doubles(count), *yb = doubles(count);
  for (long i = 0; i < count; i++) y[i] = y2[i] = w[i];
  for (int t = 1; t <= steps; t++) {
    float *g = random_floats(count, (uint64_t)t + 20);
    ck_lion_step lion = {
      .learning_rate = 0.01f,
      .beta1 = 0.9f,
      .rest1 = 0.1f,
      .beta2 = 0.99f,
      .rest2 = 0.01f,
      .weight_decay = 0.1f,
      .gradient_scale = 1};
    ck_sgd_step sgd = {
      .learning_rate = 0.01f,
      .momentum = 0.9f,
      .dampening = 0,
      .weight_decay = 0.1f,
      .gradient_scale = 2,
      .nesterov = true,
      .is_first = t == 1};
    ck_lion(w, g, m, &lion, 0, count);
    ck_sgd(w2, g, buffer, &sgd, 0, count);
    for (long i = 0; i < count; i++) {
      double mixed = ym[i] * 0.9 + 0.1 * g[i];
      y[i] = y[i] * (1 - 0.01 * 0.1) - 0.01 * ((mixed > 0) - (mixed < 0));
      ym[i] = ym[i] * 0.99 + 0.01 * g[i];
      double d = 2 * (double)g[i] + 0.1 * y2[i];
      yb[i] = t == 1 ? d : 0.9 * yb[i] + d;
      y2[i] -= 0.01 * (d + 0.9 * yb[i]);
    }
    free(g);
  }
  expect_close(w, y, count, 1e-6, "Lion weights, %ld", count);
  expect_close(m, ym, count, 2e-6, "Lion moments, %ld", count);
  expect_close(w2, y2, count, 1e-6, "SGD weights, %ld", count);
  expect_close(buffer, yb, count, 2e-6, "SGD momentum, %ld", count);
  void *all[] = {w, m, w2, buffer, y, ym, y2, yb};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

// A map of 256 rising levels, evenly spaced.
typedef struct {
  float values[256], boundaries[256];
  uint8_t *first;
} even_map;

static even_map new_map(bool is_signed) {
  even_map map;
  for (int i = 0; i < 256; i++) map.values[i] = is_signed ? (float)(i - 128) / 127.0f : (float)i / 255.0f;
  map.values[0] = is_signed ? -1 : 0;
  if (is_signed) map.values[1] = -126.5f / 127;
  for (int i = 0; i < 255; i++) map.boundaries[i] = 0.5f * (map.values[i] + map.values[i + 1]);
  map.boundaries[255] = INFINITY;
  map.first = bytes(65536);
  for (long top = 0; top < 65536; top++) {
    uint32_t bits = (uint32_t)top << 16;
    if (bits >> 31) bits |= 0xFFFF;  // the least number with these bits
    float x;
    memcpy(&x, &bits, 4);
    int code = 0;
    while (code < 255 && x > map.boundaries[code]) code++;
    map.first[top] = (uint8_t)code;
  }
  return map;
}

static int nearest_level(const even_map *map, float x) {
  int best = 0;
  for (int i = 1; i < 256; i++)
    if (fabs((double)map->values[i] - x) < fabs((double)map->values[best] - x)) best = i;
  return best;
}

static void eight_bit(long count) {
  long blocks = (count + ck_moment_block - 1) / ck_moment_block;
  even_map map_m = new_map(true), map_v = new_map(false);
  ck_moment_8bit m = {bytes(count), floats(blocks), {map_m.values, map_m.boundaries, map_m.first}};
  ck_moment_8bit v = {bytes(count), floats(blocks), {map_v.values, map_v.boundaries, map_v.first}};
  float *w = random_floats(count, 1), *y = random_floats(count, 1), *g = random_floats(count, 2);
  float *ym = floats(count), *yv = floats(count);
  ck_adamw_step step = {0.01f, 0.9f, 0.1f, 0.999f, 0.001f, 1e-8f, 0.1f, 0.1f, 0.001f, 1};
  // From moments of zero, one step gives the same weights and moments as with float32 moments.
  for (long i = 0; i < count; i++) m.codes[i] = 128;
  ck_adamw_8bit(w, g, &m, &v, &step, count, 0, blocks);
  ck_adamw(y, g, ym, yv, &step, 0, count);
  expect_equal(w, y, count * 4, "8-bit AdamW from zero, %ld", count);
  bool nearest = true;
  for (long i = 0; i < count; i++) {
    long b = i / ck_moment_block;
    nearest =
      nearest && fabsf(map_m.values[m.codes[i]] - map_m.values[nearest_level(&map_m, ym[i] / m.absmax[b])]) < 1e-6f;
    nearest =
      nearest && fabsf(map_v.values[v.codes[i]] - map_v.values[nearest_level(&map_v, yv[i] / v.absmax[b])]) < 1e-6f;
  }
  expect(nearest, "8-bit moments are the nearest levels");
  ck_lion_step lion = {0.01f, 0.9f, 0.1f, 0.99f, 0.01f, 0.1f, 1};
  for (long i = 0; i < count; i++) ym[i] = map_m.values[m.codes[i]] * m.absmax[i / ck_moment_block];
  ck_lion(y, g, ym, &lion, 0, count);
  ck_lion_8bit(w, g, &m, &lion, count, 0, blocks);
  expect_equal(w, y, count * 4, "8-bit Lion, %ld", count);
  void *all[] = {m.codes, m.absmax, v.codes, v.absmax, map_m.first, map_v.first, w, y, g, ym, yv};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void adafactor(long rows, long columns) {
  float scale = 0.5f, epsilon = 1e-30f, decay = 0.6f;
  float *g = random_floats(rows * columns, 1), *r = random_floats(rows, 2), *c = random_floats(columns, 3);
  float *s = random_floats(rows * columns, 4), *vector = random_floats(rows * columns, 1);
  double *yr = doubles(rows), *yc = doubles(columns), *y = doubles(rows * columns), *ys = doubles(rows * columns);
  double *yv = doubles(rows * columns), mean = 0;
  for (long i = 0; i < rows; i++) r[i] = fabsf(r[i]), yr[i] = r[i] * (double)decay;
  for (long j = 0; j < columns; j++) c[j] = fabsf(c[j]), yc[j] = c[j] * (double)decay;
  for (long i = 0; i < rows * columns; i++) {
    s[i] = fabsf(s[i]);
    double d = g[i] * (double)scale;
    yr[i / columns] += (1 - (double)decay) * d * d / (double)columns;
    yc[i % columns] += (1 - (double)decay) * d * d / (double)rows;
    ys[i] = s[i] * (double)decay + (1 - (double)decay) * d * d;
    yv[i] = d / sqrt(ys[i]);
  }
  for (long i = 0; i < rows; i++) mean += yr[i] / (double)rows;
  for (long i = 0; i < rows * columns; i++) y[i] = g[i] * scale / sqrt(yr[i / columns] * yc[i % columns] / mean);
  ck_adafactor_rows(g, r, columns, scale, epsilon, decay, 0, rows);
  ck_adafactor_columns(g, c, rows, columns, scale, epsilon, decay, 0, columns);
  expect_close(r, yr, rows, 2e-6, "Adafactor row means");
  expect_close(c, yc, columns, 2e-6, "Adafactor column means");
  ck_adafactor_divide(g, r, c, (float)mean, columns, scale, 0, rows);
  expect_close(g, y, rows * columns, 4e-6, "Adafactor gradient");
  ck_adafactor_vector(vector, s, scale, epsilon, decay, 0, rows * columns);
  expect_close(s, ys, rows * columns, 2e-6, "Adafactor vector means");
  expect_close(vector, yv, rows * columns, 4e-6, "Adafactor vector gradient");
  void *all[] = {g, r, c, s, vector, yr, yc, y, ys, yv};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

void test_optimizers(void) {
  static const long counts[] = {1, 7, 64, 1000};
  for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
    adamw(counts[i]);
    lion_and_sgd(counts[i]);
    eight_bit(counts[i]);
    adafactor(5, counts[i]);
  }
}
