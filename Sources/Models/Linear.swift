import Tensors

/// A linear layer of a model, and the adapter that may sit on it.
public final class Linear {
  /// Its place in the model as transformers names it: `model.layers.0.self_attn.q_proj`.
  public let path: String
  /// `[out, in]`
  public let weight: Parameter
  /// `[out]`
  public let bias: Parameter?
  /// The adapter.
  public var lora: LoRAUpdate?

  init(path: String, weight: Parameter, bias: Parameter?) {
    self.path = path
    self.weight = weight
    self.bias = bias
  }

  /// The last part of the path: `q_proj`.
  public var name: String { path.split(separator: ".").last.map(String.init) ?? path }
  /// Columns in.
  public var inputs: Int { weight.value.columns }
  /// Columns out.
  public var outputs: Int { weight.value.rows }

  /// The layer as the tape takes it.
  var projection: Projection { Projection(weight: weight, bias: bias, lora: lora) }
}
