import Foundation
import OrderedJSON
import Serving
import Synchronization
import Testing

/// The HTTP server on a real socket, with clients that misbehave.
@Suite(.serialized) struct HTTPServerTests {
  /// Runs `body` with a server that echoes requests as JSON.
  private static func withServer(
    _ limits: HTTPLimits = HTTPLimits(), handler: HTTPServer.Handler? = nil, _ body: (Int) async throws -> Void
  ) async throws {
    let server = HTTPServer(
      limits: limits,
      handler: handler ?? { request in
        .json([
          "method": .string(request.method), "path": .string(request.path), "query": .string(request.query),
          "length": .integer(request.body.count),
        ])
      })
    let (ports, continuation) = AsyncStream<Int>.makeStream()
    let task = Task { try await server.run(host: "127.0.0.1", port: 0) { continuation.yield($0) } }
    defer { task.cancel() }
    var iterator = ports.makeAsyncIterator()
    try await body(try #require(await iterator.next()))
    task.cancel()
    try await task.value
  }

  @Test func requestsAreAnsweredInOrder() async throws {
    try await Self.withServer { port in
      let client = try RawClient(port)
      client.send("GET /a?x=1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
      client.send("HEAD /c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      let text = try await client.readToEnd()
      let places = ["\"path\":\"/a\"", "\"path\":\"/b\"", "\"length\":3"].map { text.firstRange(of: $0)?.lowerBound }
      #expect(!places.contains(nil) && text.ranges(of: "HTTP/1.1 200").count == 3, "\(text)")
      #expect(!text.contains("\"path\":\"/c\""))
    }
  }

  @Test func chunkedBodiesAreRead() async throws {
    try await Self.withServer { port in
      let client = try RawClient(port)
      client.send(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
      )
      let text = try await client.readToEnd()
      #expect(text.contains("\"length\":5"))
    }
  }

  @Test(arguments: [
    "NONSENSE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\nabc\r\n", "\u{16}\u{3}\u{1}\u{2}",
    "GET /\u{0} HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.1\r\nBad Header : x\r\n\r\n",
  ])
  func malformedRequestsEndTheConnection(_ text: String) async throws {
    try await Self.withServer { port in
      let client = try RawClient(port)
      client.send(text)
      client.finishSending()
      let answer = try await client.readToEnd()
      #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 4"), "\(answer)")
      // The server goes on.
      let other = try RawClient(port)
      other.send("GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      let next = try await other.readToEnd()
      #expect(next.contains("/ok"))
    }
  }

  @Test func largeRequestsAreRefused() async throws {
    var limits = HTTPLimits()
    (limits.bodyBytes, limits.headerBytes) = (1000, 4000)
    try await Self.withServer(limits) { port in
      let long = try RawClient(port)
      long.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + String(repeating: "x", count: 5000))
      #expect(try await long.readToEnd().hasPrefix("HTTP/1.1 413"))
      let headers = try RawClient(port)
      headers.send("GET / HTTP/1.1\r\nHost: x\r\nX-Long: \(String(repeating: "y", count: 5000))\r\n\r\n")
      #expect(try await headers.readToEnd().hasPrefix("HTTP/1.1 431"))
      let endless = try RawClient(port)
      endless.send("GET / HTTP/1.1\r\n")
      for index in 0..<20_000 where !endless.send("X-\(index): \(String(repeating: "z", count: 90))\r\n") { break }
      #expect(try await !endless.readToEnd().hasPrefix("HTTP/1.1 200"))
    }
  }

  @Test func slowClientsAreDisconnected() async throws {
    var limits = HTTPLimits()
    (limits.headSeconds, limits.bodySeconds) = (1, 1)
    try await Self.withServer(limits) { port in
      let clients = try [
        "", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      ].map { text in
        let client = try RawClient(port)
        client.send(text)
        return client
      }
      // Throws if the server doesn't close one of them.
      for client in clients { _ = try await client.readToEnd() }
    }
  }

  @Test func moreConnectionsThanAllowedAreClosed() async throws {
    var limits = HTTPLimits()
    limits.connections = 20
    try await Self.withServer(limits) { port in
      let clients = try (0..<60).map { _ in try RawClient(port) }
      for client in clients { client.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") }
      var answered = 0
      for client in clients where try await client.readToEnd().hasPrefix("HTTP/1.1 200") { answered += 1 }
      #expect(answered >= 20 && answered <= 60)
      let later = try RawClient(port)
      later.send("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
      #expect(try await later.readToEnd().hasPrefix("HTTP/1.1 200"))
    }
  }

  /// A disconnected client's request is cancelled, streamed or not.
  @Test(arguments: [false, true]) func disconnectingCancels(isStreamed: Bool) async throws {
    let (events, continuation) = AsyncStream<String>.makeStream()
    let handler: HTTPServer.Handler = { _ in
      if isStreamed {
        let chunks = AsyncThrowingStream<[UInt8], any Error> { stream in
          stream.onTermination = { _ in continuation.yield("cancelled") }
          stream.yield(Array("first".utf8))
          continuation.yield("began")
        }
        return HTTPResponse(body: .stream(chunks))
      }
      continuation.yield("began")
      do {
        try await Task.sleep(for: .seconds(60))
        return HTTPResponse()
      } catch {
        continuation.yield("cancelled")
        return HTTPResponse()
      }
    }
    try await Self.withServer(handler: handler) { port in
      let client = try RawClient(port)
      client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      var iterator = events.makeAsyncIterator()
      #expect(await iterator.next() == "began")
      client.close()
      #expect(await iterator.next() == "cancelled")
    }
  }
}

/// A client on a plain socket, which can send anything. Reads fail after two silent minutes: the server shares the
/// processor with every other test.
private final class RawClient {
  private var socket: Int32

  init(_ port: Int) throws {
    socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let status = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
      }
    }
    guard status == 0 else { throw POSIXError(.ECONNREFUSED) }
    var limit = timeval(tv_sec: 120, tv_usec: 0)
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
  }

  deinit { close() }

  /// Returns whether everything was sent.
  @discardableResult func send(_ text: String) -> Bool {
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
      let sent = bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
      guard sent > 0 else { return false }
      bytes = bytes.dropFirst(sent)
    }
    return true
  }

  func finishSending() { shutdown(socket, Int32(SHUT_WR)) }

  /// What the server sends until it closes the connection. Waits on a thread of its own, since the server's handlers
  /// need those that run tests.
  func readToEnd() async throws -> String {
    let socket = socket
    return try await withCheckedThrowingContinuation { continuation in
      Thread.detachNewThread { continuation.resume(with: Result { try Self.readToEnd(of: socket) }) }
    }
  }

  private static func readToEnd(of socket: Int32) throws -> String {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = recv(socket, &buffer, buffer.count, 0)
      if count < 0, errno == EAGAIN { throw POSIXError(.ETIMEDOUT) }
      guard count > 0 else { return String(decoding: bytes, as: UTF8.self) }
      bytes += buffer[..<count]
    }
  }

  func close() {
    guard socket >= 0 else { return }
    Glibc.close(socket)
    socket = -1
  }
}
