import Diagnostics
import CCrypto
import CLoader
import Essentials

/// A hash of bytes that arrive in pieces, computed by OpenSSL's libcrypto.
package final class MessageDigest {
  package enum Algorithm: String, Sendable {
    case sha256 = "SHA-256"
    case sha1 = "SHA-1"
  }

  private let algorithm: Algorithm
  private let context: OpaquePointer?

  /// - Throws: `SwiftletError` if libcrypto doesn't provide the algorithm.
  package init(_ algorithm: Algorithm) throws(SwiftletError) {
    self.algorithm = algorithm
    if let failure = loader_failure(loader_crypto) {
      throw SwiftletError.hub(
        "libcrypto",
        "cannot check downloads (\(String(cString: failure))); on Debian and Ubuntu, run `apt install libssl3`")
    }
    context = EVP_MD_CTX_new()
    try check(EVP_DigestInit_ex(context, algorithm == .sha256 ? EVP_sha256() : EVP_sha1(), nil))
  }

  deinit { EVP_MD_CTX_free(context) }

  package func update(_ data: Data) throws(SwiftletError) {
    try check(data.withUnsafeBytes { EVP_DigestUpdate(context, $0.baseAddress, $0.count) })
  }

  /// Adds the rest of a file.
  /// - Throws: `FileFailure` if it can't be read, or `SwiftletError`.
  func update(_ file: OpenFile) throws {
    while true {
      let part = try file.read(upTo: 4 << 20)
      if part.isEmpty { return }
      try update(part)
    }
  }

  /// The hash in lowercase hexadecimal digits. Call it once.
  package func hexadecimal() throws(SwiftletError) -> String {
    var bytes = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
    var count: UInt32 = 0
    try check(EVP_DigestFinal_ex(context, &bytes, &count))
    return bytes.prefix(Int(count)).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
  }

  /// The hash of `data`.
  package static func hexadecimal(_ algorithm: Algorithm, _ data: Data) throws(SwiftletError) -> String {
    let digest = try MessageDigest(algorithm)
    try digest.update(data)
    return try digest.hexadecimal()
  }

  private func check(_ status: Int32) throws(SwiftletError) {
    guard context != nil, status == 1 else {
      throw SwiftletError.hub("libcrypto", "cannot compute \(algorithm.rawValue); check the OpenSSL installation")
    }
  }
}
