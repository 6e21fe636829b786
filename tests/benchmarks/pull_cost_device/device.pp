# What playbooks/converge.yml makes of a device, in Puppet's words.
Exec { path => ['/usr/sbin', '/usr/bin', '/sbin', '/bin'] }

group { 'edge': ensure => present, gid => '8470' }
user { 'edge':
  ensure     => present,
  uid        => '8470',
  gid        => 'edge',
  home       => '/var/lib/edge',
  managehome => false,
  shell      => '/usr/sbin/nologin',
}
file { ['/var/lib/edge/data', '/var/lib/edge/models', '/var/lib/edge/checkpoints', '/var/lib/edge/state']:
  ensure => directory, owner => 'edge', group => 'edge', mode => '0750',
}

package { ['docker.io', 'python3-docker', 'python3-requests']: ensure => installed }
file { '/etc/docker/daemon.json': source => '/root/puppet/etc/docker/daemon.json', mode => '0644', notify => Service['docker'] }
service { 'docker': ensure => running, enable => true }
file { ['/etc/docker/certs.d', '/etc/docker/certs.d/127.0.0.1:5000']: ensure => directory, mode => '0755' }
file { '/etc/docker/certs.d/127.0.0.1:5000/ca.crt': source => '/root/puppet/etc/docker/certs.d/127.0.0.1:5000/ca.crt', mode => '0644' }
exec { 'engine answers': command => 'false', unless => 'docker info' }

exec { 'image is there': command => 'docker pull @IMAGE@', unless => 'docker image inspect @IMAGE@' }
file { '/usr/local/lib/edge': ensure => directory, mode => '0755' }
file { '/usr/local/lib/edge/fetch-blob': source => '/root/puppet/usr/local/lib/edge/fetch-blob', mode => '0644' }
exec { 'model is the released one':
  command => 'false',
  unless  => 'echo @MODEL@ /var/lib/edge/models/@MODEL@.tar | sha256sum --check --status',
}
file { '/var/lib/edge/models/@MODEL@.tar': ensure => file, owner => 'edge', group => 'edge', mode => '0640' }

# Its image, its model and how it runs; one that is another is nothing that a command would mend.
exec { 'container is the released one':
  command  => 'false',
  provider => shell,
  unless   => 'docker inspect edge-predictor | grep -q "@IMAGE@" && test "$(docker inspect --format "{{.State.Health.Status}}{{.HostConfig.ReadonlyRootfs}}{{.HostConfig.Memory}}{{.HostConfig.PidsLimit}}{{.HostConfig.RestartPolicy.Name}}" edge-predictor)" = healthytrue536870912128unless-stopped',
}
exec { 'predictions are right':
  command  => 'false',
  provider => shell,
  unless   => '/usr/bin/python3 /root/predictions.py @MODEL@',
}
exec { 'nothing was replaced halfway': command => 'false', provider => shell, unless => '/usr/local/sbin/edge-commit status --json' }
exec { 'no image is left over':
  command  => 'false',
  provider => shell,
  unless   => 'test "$(docker image ls --digests --format "{{.Repository}}@{{.Digest}}" | grep /edge/ | grep -vF "@IMAGE@" | wc -l)" = 0',
}
file { '/var/lib/edge/pull/state': ensure => directory, owner => 'root', group => 'root', mode => '0700' }
file { '/var/lib/edge/pull/state/release.json': ensure => file, owner => 'root', group => 'root', mode => '0600' }
