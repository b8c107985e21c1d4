import Diagnostics

extension ConfigurationReader {
  /// Reads what is the same for the experts of all families.
  /// - Parameter countKey: the key of the number of experts.
  /// - Throws: `SwiftletError` if these experts contradict each other.
  func readCommon(_ experts: inout TransformerConfiguration.Experts, countKey: String) throws(SwiftletError) {
    guard experts.chosen <= experts.count else {
      throw error("num_experts_per_tok must be at most \(countKey) (\(experts.count))")
    }
    experts.routerLossCoefficient = try optionalNumber("router_aux_loss_coef") ?? experts.routerLossCoefficient
    experts.returnsRouterLogits = try optionalBool("output_router_logits") ?? false
  }
}
