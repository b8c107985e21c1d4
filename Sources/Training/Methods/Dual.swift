import Essentials

/// A number with its derivatives by the log-probabilities of a chosen and a rejected completion. Losses over pairs are
/// written once, and their gradients follow (forward-mode automatic differentiation).
struct Dual {
  var value: Double
  /// The derivative by the chosen completion's log-probability.
  var chosen = 0.0
  /// The derivative by the rejected completion's log-probability.
  var rejected = 0.0

  /// A function of this number, given its value and its derivative here.
  private func mapped(_ value: Double, _ derivative: Double) -> Dual {
    Dual(value: value, chosen: derivative * chosen, rejected: derivative * rejected)
  }

  /// log(1 / (1 + exp(−x))), without overflow.
  var logSigmoid: Dual { mapped(min(value, 0) - log1p(exp(-abs(value))), 1 / (1 + exp(value))) }
  var sigmoid: Dual {
    let result = 1 / (1 + exp(-value))
    return mapped(result, result * (1 - result))
  }
  var exponential: Dual { mapped(exp(value), exp(value)) }
  /// log(1 − exp(x)) for x below 0.
  var log1mExp: Dual {
    let result = value > -0.6931471805599453 ? log(-expm1(value)) : log1p(-exp(value))
    return mapped(result, -1 / expm1(-value))
  }
  var squared: Dual { mapped(value * value, 2 * value) }
  /// max(x, 0)
  var positivePart: Dual { value > 0 ? self : Dual(value: 0) }
  /// min(x, limit)
  func capped(at limit: Double) -> Dual { value > limit ? Dual(value: limit) : self }

  static prefix func - (a: Dual) -> Dual { a.mapped(-a.value, -1) }
  static func + (a: Dual, b: Dual) -> Dual {
    Dual(value: a.value + b.value, chosen: a.chosen + b.chosen, rejected: a.rejected + b.rejected)
  }
  static func - (a: Dual, b: Dual) -> Dual { a + -b }
  static func * (a: Dual, b: Dual) -> Dual {
    Dual(
      value: a.value * b.value, chosen: a.chosen * b.value + a.value * b.chosen,
      rejected: a.rejected * b.value + a.value * b.rejected)
  }
  static func + (a: Dual, b: Double) -> Dual { Dual(value: a.value + b, chosen: a.chosen, rejected: a.rejected) }
  static func - (a: Dual, b: Double) -> Dual { a + -b }
  static func - (a: Double, b: Dual) -> Dual { -b + a }
  static func * (a: Double, b: Dual) -> Dual { b.mapped(a * b.value, a) }
}
