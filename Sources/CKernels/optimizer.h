// AdamW as torch computes it: decay first, then the step by bias-corrected moments.

void CK(ck_adamw)(
  float *weight, const float *gradient, float *m, float *v, float learning_rate, float beta1, float beta2,
  float epsilon, float weight_decay, float correction1, float correction2, float gradient_scale, long begin, long end) {
  float step = learning_rate / correction1, root = sqrtf(correction2), keep = 1 - learning_rate * weight_decay;
  for (long i = begin; i < end; i++) {
    float g = gradient[i] * gradient_scale;
    m[i] = m[i] + (1 - beta1) * (g - m[i]);
    v[i] = v[i] * beta2 + (1 - beta2) * g * g;
    weight[i] = weight[i] * keep - step * m[i] / (sqrtf(v[i]) / root + epsilon);
  }
}
