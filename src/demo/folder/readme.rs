//! The explanation that lies in the folder.

pub(super) const TEXT: &str = "\
This folder belongs to `causeway demo`. Nothing in it opens anything but this demo.

  causeway.toml        the bridge's configuration for the sample devices
  demo.json            addresses and devices, for scripts; there while the demo runs
  demo-rsa.key.pem     private key of the device demo-rsa (RSA 2048, PKCS#8)
  demo-rsa.pub.pem     its public key, as it is registered with the platform
  demo-ec.key.pem      private key of the device demo-ec (EC P-256, SEC1)
  demo-ec.pub.pem      its public key
  connector.secret     the uplink secret of the device connector demo-connector,
                       which has the devices demo-secret-1 and demo-secret-2
  demo-sap.pem         encrypted private key and certificate of the device demo-sap,
                       in the form in which SAP hands them out
  demo-sap.passphrase  the passphrase of that key
  ca.pem, ca.key.pem   the certificate authority of the TLS listeners and of demo-sap
  server.pem, server.key.pem   the certificate of those listeners

Put a key of your own in a .key.pem file's place, and the device has that key.
Delete a file, or the whole folder, and the next run makes it anew.
";
