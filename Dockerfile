# docker build -t causeway .
# The same for amd64 and arm64; for both at once: docker buildx build --platform linux/amd64,linux/arm64 -t NAME --push .
# Another base fits as long as the runtime's glibc is not older than the builder's, such as
# --build-arg RUNTIME_IMAGE=gcr.io/distroless/cc-debian12: the last stage runs no command and needs no shell.
ARG RUST_IMAGE=rust:1.95-bookworm
ARG RUNTIME_IMAGE=debian:bookworm-slim

FROM ${RUST_IMAGE} AS builder
WORKDIR /build

# The dependencies alone, so that they are built again only when they change.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/suite \
 && touch src/lib.rs \
 && echo 'fn main() {}' | tee src/main.rs >tests/suite/main.rs \
 && cargo build --release --locked --features nats \
 && rm -r src

COPY src src
# Cargo goes by file times, and the copied files are older than what was built above.
RUN touch src/main.rs src/lib.rs \
 && cargo build --release --locked --features nats --bin causeway \
 && mkdir /empty

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="Causeway" \
      org.opencontainers.image.description="A local bridge between plain HTTP and an IoT platform's MQTT broker" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=builder --chown=10001:10001 /empty /var/lib/causeway
COPY --from=builder /build/target/release/causeway /usr/local/bin/causeway

USER 10001:10001
WORKDIR /var/lib/causeway
VOLUME ["/var/lib/causeway"]
# HTTP for applications; health and metrics.
EXPOSE 8080 9090
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/usr/local/bin/causeway", "health"]
# An orderly end takes up to 21 s: give it 30, with --stop-timeout or stop_grace_period.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/causeway"]
CMD ["serve", "--config", "/etc/causeway/causeway.toml"]
